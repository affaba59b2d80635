// A picture of an answer to send to others: verdict, the likeliest three, the model's name. The photo only when wanted.

import { $, labelName, make, percent, regional, t } from "./app.js";
import { offer } from "./save.js";
import { headline } from "./verdict.js";

const WIDTH = 1200;
const HEIGHT = 630;
const MARGIN = 70;
const TOP = 80;
const SIDE = 440; // of the photo
const INK = { paper: "#f6f4ee", ink: "#1d2a2e", soft: "#55646a", accent: "#0b635b", pale: "#dcefeb", warn: "#8a3b12" };
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';

let shown = null; // {answer, info}
let card = null; // the picture as a blob

// The words of a text in at most `most` rows of that width.
function rowsOf(context, text, width, most) {
  const rows = [""];
  for (const word of text.split(" ")) {
    const longer = `${rows.at(-1)} ${word}`.trim();
    if (context.measureText(longer).width <= width || !rows.at(-1)) rows[rows.length - 1] = longer;
    else rows.push(word);
  }
  return rows.length > most ? [...rows.slice(0, most - 1), `${rows[most - 1]} …`] : rows;
}

class Card {
  constructor() {
    this.canvas = make("canvas", { width: WIDTH, height: HEIGHT });
    this.context = this.canvas.getContext("2d");
    this.context.textBaseline = "top";
    this.box(INK.paper, 0, 0, WIDTH, HEIGHT);
    [this.left, this.y] = [MARGIN, TOP];
  }

  get width() {
    return WIDTH - MARGIN - this.left;
  }

  box(colour, ...box) {
    this.context.fillStyle = colour;
    this.context.fillRect(...box);
  }

  // Write at the left edge, below what is there.
  write(text, colour, font, size, most) {
    Object.assign(this.context, { fillStyle: colour, font: `${font} ${size}px ${FONT}` });
    for (const row of rowsOf(this.context, text, this.width, most)) {
      this.context.fillText(row, this.left, this.y, this.width);
      this.y += Math.round(1.2 * size);
    }
  }

  // The square in the middle of the photo; what is written stands beside it.
  photo(image) {
    const { naturalWidth: width, naturalHeight: height } = image;
    const cut = Math.min(width, height);
    this.context.drawImage(image, (width - cut) / 2, (height - cut) / 2, cut, cut, MARGIN, TOP, SIDE, SIDE);
    this.left += SIDE + 50;
  }

  guess({ country, probability }) {
    const above = this.y;
    this.context.textAlign = "right";
    this.context.font = `400 28px ${FONT}`;
    this.context.fillStyle = INK.ink;
    this.context.fillText(percent(probability), this.left + this.width, above);
    this.context.textAlign = "left";
    this.context.fillText(labelName(country), this.left, above, this.width - 120);
    this.box(INK.pale, this.left, above + 40, this.width, 12);
    this.box(INK.accent, this.left, above + 40, Math.max(4, this.width * probability), 12);
    this.y += 72;
  }
}

async function draw() {
  const { answer, info } = shown;
  const drawn = new Card();
  if ($("share-photo").checked) drawn.photo($("photo"));
  drawn.write(headline(answer), INK.ink, 700, 52, 3);
  drawn.y += 20;
  answer.guesses.slice(0, 3).forEach((guess) => drawn.guess(guess));
  if (info.model.drawn_only) drawn.write(t("caution.drawn"), INK.warn, 400, 22, 2);
  [drawn.left, drawn.y] = [MARGIN, HEIGHT - 56];
  const date = new Date().toLocaleDateString(regional(), { dateStyle: "long" });
  drawn.write(t("share.by", { name: info.name, date }), INK.soft, 400, 22, 1);
  card = await new Promise((done) => drawn.canvas.toBlob(done, "image/png"));
  URL.revokeObjectURL($("share-picture").src);
  $("share-picture").src = URL.createObjectURL(card);
  $("share-picture").alt = t("share.alt", { verdict: headline(answer) });
}

const asFile = () => new File([card], "whichland.png", { type: "image/png" });

// Show the picture of a photo's answer, which can be saved and, where the browser shares files, sent.
export async function share({ answer }, info) {
  shown = { answer, info };
  $("share-photo").checked = false;
  $("share-photo").disabled = $("photo").hidden;
  await draw();
  $("share-send").hidden = !navigator.canShare?.({ files: [asFile()] });
  $("share").showModal();
}

export function listenToShare() {
  $("share-photo").addEventListener("change", draw);
  $("share-save").addEventListener("click", () => offer("whichland.png", card));
  $("share-send").addEventListener("click", () => navigator.share({ files: [asFile()] }).catch(() => {})); // called off
}
