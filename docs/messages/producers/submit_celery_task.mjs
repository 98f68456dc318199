// Ask Globetag for a photograph: the Celery task geotag.locate.v1, message protocol 2, without Celery.
//
// npm ci && node submit_celery_task.mjs amqp://shop:PASSWORD@rabbitmq.example// s3://archive/1931/0042.tif "glass negatives"
//
// To geotag.ingress, where it is checked. A trusted producer may send the same straight to the workers: to the
// exchange geotag.locate with the routing key geotag.locate.

import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const [brokerUrl, uri, collection] = process.argv.slice(2);

const id = randomUUID();
const positional = [];
const named = { uri, collection, hints: { region: "Styria" } };
const embedded = { callbacks: null, errbacks: null, chain: null, chord: null };

const connection = await amqp.connect(brokerUrl);
try {
  const channel = await connection.createConfirmChannel();
  const body = Buffer.from(JSON.stringify([positional, named, embedded]));
  channel.publish("geotag.ingress", "geotag.ingress", body, {
    contentType: "application/json",
    contentEncoding: "utf-8",
    correlationId: id,
    persistent: true,
    headers: { lang: "js", task: "geotag.locate.v1", id, root_id: id, parent_id: null, group: null },
  });
  await channel.waitForConfirms();
} finally {
  await connection.close();
}
