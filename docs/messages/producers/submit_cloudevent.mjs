// Ask Globetag for a photograph: a CloudEvent in structured mode over AMQP.
//
// npm ci && node submit_cloudevent.mjs amqp://shop:PASSWORD@rabbitmq.example// s3://archive/1931/0042.tif "glass negatives"

import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const [brokerUrl, uri, collection] = process.argv.slice(2);

const event = {
  specversion: "1.0",
  id: randomUUID(),
  source: "/shop/uploads",
  type: "geotag.image.submitted.v1",
  time: new Date().toISOString(),
  datacontenttype: "application/json",
  data: { uri, collection, hints: { region: "Styria" } },
};

const connection = await amqp.connect(brokerUrl);
try {
  const channel = await connection.createConfirmChannel();
  channel.publish("geotag.ingress", "geotag.ingress", Buffer.from(JSON.stringify(event)), {
    contentType: "application/cloudevents+json",
    contentEncoding: "utf-8",
    messageId: event.id,
    persistent: true,
  });
  await channel.waitForConfirms(); // from here on the broker has it safe
} finally {
  await connection.close();
}
