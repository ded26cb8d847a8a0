// Sliders that move through the pictures of a run, rows of all of them below each other, and the
// values under a pointer. Everything is on the page already; nothing is loaded.

const MOST_ROWS = 12; // moments that a row is shown at

for (const film of document.querySelectorAll(".film")) {
  const pictures = [...film.querySelectorAll(".pictures img")];
  const moments = pictures.filter((picture) => !picture.classList.contains("reals"));
  const slider = film.querySelector("input[type=range]");
  const shown = film.querySelector(".when-shown");
  const real = film.querySelector("input[type=checkbox]");
  const show = () => {
    const wanted = real?.checked ? pictures.find((p) => !moments.includes(p)) : moments[slider.value];
    for (const picture of pictures) picture.hidden = picture !== wanted;
    shown.textContent = wanted.dataset.caption;
    slider.setAttribute("aria-valuetext", wanted.dataset.caption);
  };
  slider.addEventListener("input", () => {
    if (real) real.checked = false;
    show();
  });
  real?.addEventListener("change", show);
  slider.hidden = moments.length < 2;
  if (real) real.parentElement.hidden = false;
  show();
}

// At most MOST_ROWS of `list`, the first and the last among them.
function some(list) {
  const count = Math.min(list.length, MOST_ROWS);
  const step = (list.length - 1) / Math.max(count - 1, 1);
  return Array.from({ length: count }, (_, index) => list[Math.round(index * step)]);
}

const rows = document.getElementById("rows");
const samples = [...document.querySelectorAll("#samples .pictures img:not(.reals)")];
if (samples.length > 1) {
  const select = rows.querySelector("select");
  const canvas = rows.querySelector("canvas");
  const reals = document.querySelector("#samples img.reals");
  const sources = [...(reals ? [reals] : []), ...some(samples)];
  const draw = async () => {
    await Promise.all(sources.map((picture) => picture.decode()));
    const newest = sources.at(-1);
    const height = newest.naturalHeight / select.length;
    canvas.width = newest.naturalWidth;
    canvas.height = height * sources.length;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = !newest.classList.contains("pixelated");
    sources.forEach((picture, index) => {
      const own = picture.naturalHeight / select.length;
      const part = [0, own * select.selectedIndex, picture.naturalWidth, own];
      context.drawImage(picture, ...part, 0, height * index, canvas.width, height);
    });
    canvas.classList.toggle("pixelated", newest.classList.contains("pixelated"));
    canvas.setAttribute("aria-label", `${select.value} at ${sources.length} moments`);
  };
  rows.querySelector(".labels").replaceChildren(
    ...sources.map((picture) => {
      const label = document.createElement("span");
      label.textContent = picture.dataset.caption;
      return label;
    }),
  );
  select.addEventListener("input", draw);
  rows.hidden = false;
  draw();
}

const text = (value) =>
  value === null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 4 });

for (const chart of document.querySelectorAll(".chart")) {
  const data = JSON.parse(chart.querySelector("script").textContent);
  const drawing = chart.querySelector("svg");
  const cursor = chart.querySelector(".cursor");
  const cells = [...chart.querySelectorAll(".legend b")];
  const when = chart.querySelector(".when");
  const before = [...cells, when].map((cell) => cell.textContent);
  const [left, low] = data.from;
  const [right, high] = data.to;
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width;
    const kimg = low + ((x - left) / (right - left)) * (high - low);
    const away = data.kimg.map((at) => Math.abs(at - kimg));
    const index = away.indexOf(Math.min(...away));
    const place = left + ((data.kimg[index] - low) / (high - low)) * (right - left);
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    cursor.setAttribute("visibility", "visible");
    cells.forEach((cell, curve) => (cell.textContent = text(data.values[curve][index])));
    when.textContent = `kimg ${data.when[index]}`;
  });
  drawing.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    [...cells, when].forEach((cell, index) => (cell.textContent = before[index]));
  });
}
