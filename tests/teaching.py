"""Teachers for tests: real HTTP servers that know a photograph by its colour; photographs with known places."""

import base64
import csv
import io
import threading

from PIL import Image

from tests.chat_server import MODEL, Server, answered, choice, pictures_of
from tests.support import number_of, write_pictures

PLACES = (
    ("Oslo", "Norway", 59.9127, 10.7461),
    ("Paris", "France", 48.8534, 2.3488),
    ("Nairobi", "Kenya", -1.2833, 36.8167),
    ("Lima", "Peru", -12.0432, -77.0282),
)
GREY = (128, 128, 128)


def words(number):
    """Words that no other number has, without digits: the canary does not look at those."""
    return " ".join("abcdefghij"[int(digit)] * 5 for digit in f"{number:04}")


def says(number, *, city=None, country=None, verdict="locatable: yes\nprobability: 0.8"):
    """A good teacher's answer about photograph `number`."""
    place = PLACES[number % len(PLACES)]
    return (
        f"<verdict>{verdict}</verdict><think>A wall of {words(number)} stands there. The roofs are red.</think>"
        f"<visible>a wall\nred roofs</visible>"
        f"<answer>country: {country or place[1]}\ncity: {city or place[0]}</answer>"
    )


def shown_in(body):
    """The number of the photograph that a question shows; None for the control picture."""
    (url,) = pictures_of(body)
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
    if image.size != (16, 16):
        return None
    return number_of(image)


class Teaching(Server):
    """A teacher that answers `say(number)` (None: the control) as text, or as a whole reply."""

    def __init__(self, say=says, **how):
        super().__init__(self._reply, **how)
        self._say = say
        self.served = []
        self.logged = threading.Lock()

    def _reply(self, body):
        number = shown_in(body)
        said = says(0) if number is None and self._say is says else self._say(number)
        if number is not None:
            with self.logged:
                self.served.append(number)
        if isinstance(said, str):
            reply = answered(choice(said), prompt_tokens=700)
            reply[1]["choices"][0]["logprobs"] = None
            reply[1]["usage"]["completion_tokens"] = 60
            return reply
        return said


def write_archive(folder, count):
    """`count` photographs in a folder, with a table of where they were taken."""
    paths = write_pictures(folder, count)
    with (folder / "places.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "lat", "lon", "country", "city"])
        for number, path in enumerate(paths):
            city, country, lat, lon = PLACES[number % len(PLACES)]
            table.writerow([path.name, lat, lon, country, city])
    return folder


def teachers_file(path, **urls):
    """A teachers' file with a language teacher for each url; extra keys as (url, {key: value})."""
    lines = ["teachers:"]
    for name, given in urls.items():
        url, more = given if isinstance(given, tuple) else (given, {})
        keys = {"kind": "openai", "url": url, "model": MODEL, "timeout_s": 20} | more
        lines.append(f"  - name: {name}")
        lines += [f"    {key}: {value}" for key, value in keys.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
