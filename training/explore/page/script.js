// The page asks the server for pictures whenever a control changes. Its state is in the address
// after '#', so that reloading and bookmarks keep it.

const MANY = 12; // classes from which on they can be searched
const PATIENCE = 300; // ms that a request may go on when another is wanted
const PIXELATED = 256; // pictures with fewer pixels a side are enlarged pixel for pixel

const byId = (id) => document.getElementById(id);
const form = byId("controls");
const fields = form.elements;

let network; // what the server says of it
let running = null; // the AbortController of the request under way
let timer = null; // set while another request is wanted

async function ask(path, signal) {
  const response = await fetch(path, { signal }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; start it again");
  });
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  const answer = isJson ? await response.json() : {};
  if (!response.ok) {
    throw new Error(answer.error ?? `The server failed (${response.status}); see its terminal`);
  }
  return answer;
}

// Controls as query parameters.
function query() {
  return new URLSearchParams(new FormData(form));
}

// Wait for a young request: while a slider moves, pictures follow it. Give an old one up.
function refresh() {
  showValues();
  clearTimeout(timer);
  if (running) timer = setTimeout(start, PATIENCE);
  else start();
}

async function start() {
  clearTimeout(timer);
  timer = null;
  running?.abort();
  const request = (running = new AbortController());
  const wish = query();
  history.replaceState(null, "", `#${wish}`);
  byId("pictures").classList.add("busy");
  try {
    show(await ask(`pictures?${wish}`, request.signal), wish);
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  }
  if (running !== request) return;
  running = null;
  byId("pictures").classList.remove("busy");
  if (timer !== null) start();
}

function complain(error) {
  byId("error").textContent = error.message;
}

function show(answer, wish) {
  const alone = answer.pictures.length === 1;
  const cells = answer.pictures.map((picture) => {
    const image = new Image();
    image.src = `data:image/png;base64,${picture.png}`;
    image.alt = [`Seed ${picture.seed}`, picture.class].filter(Boolean).join(", ");
    image.width = network.width;
    image.height = network.height;
    image.classList.toggle("small", Math.max(network.width, network.height) < PIXELATED);
    return alone ? image : choosable(image, picture);
  });
  const columns = Number(wish.get("columns"));
  const aspect = (columns * network.width) / (Number(wish.get("rows")) * network.height);
  byId("pictures").style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  byId("pictures").style.setProperty("--aspect", aspect);
  byId("pictures").replaceChildren(...cells);
  byId("error").textContent = "";
  byId("status").textContent = alone
    ? cells[0].alt
    : `${cells.length} pictures; choose one to see it alone`;
  byId("command").replaceChildren(...answer.command.split(/( )/).map(word));
  byId("download").href = `download?${wish}`;
  byId("keep").hidden = false;
}

// A word of the command line, which is not to be parted at a hyphen.
function word(text) {
  const span = document.createElement("span");
  span.textContent = text;
  span.classList.toggle("whole", text !== " ");
  return span;
}

// A picture of the grid is a button that shows it alone.
function choosable(image, picture) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = image.alt;
  button.append(image);
  button.addEventListener("click", () => {
    fields.seed.value = picture.seed;
    fields.rows.value = fields.columns.value = 1;
    refresh();
    byId("seed").focus();
  });
  return button;
}

// What depends on other controls: numbers beside sliders, and the share of a mixture.
function showValues() {
  byId("mixing").hidden = !(fields.first_class.value && fields.second_class.value);
  fields.second_class.disabled = !fields.first_class.value; // disabled ones are not sent
  for (const output of form.querySelectorAll("output")) {
    const value = Number(fields[output.htmlFor.value].value);
    const isShare = output.htmlFor.value === "mix";
    output.textContent = isShare ? `${Math.round(100 * value)} %` : value.toFixed(2);
  }
}

// A select of all classes, and a box that narrows it and takes the first that begins so.
function offerClasses(select, search, nothing) {
  const offer = (names) => select.replaceChildren(...names.map((name) => new Option(name, name)));
  offer(network.classes);
  select.prepend(new Option(nothing, ""));
  select.value = "";
  search.hidden = network.classes.length <= MANY;
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    const place = (name) => name.toLowerCase().indexOf(wanted);
    const found = network.classes.filter((name) => place(name) >= 0);
    byId("error").textContent = found.length ? "" : `No class is called like “${search.value}”`;
    if (!found.length) return;
    const before = select.value;
    // Names that begin so come first; the others keep their order.
    offer(found.sort((a, b) => Math.sign(place(a)) - Math.sign(place(b))));
    if (!wanted) {
      select.prepend(new Option(nothing, ""));
      select.value = before;
    }
    if (select.value !== before) refresh();
  });
}

function move(steps) {
  const count = fields.rows.value * fields.columns.value;
  const last = network.max_seed + 1 - count;
  const seed = Number(fields.seed.value) + steps * count;
  fields.seed.value = Math.min(Math.max(seed, 0), last);
  refresh();
}

function readAddress() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const field = fields.namedItem(name);
    if (!field) continue;
    field.value = value;
    // The server is asked for a class that there is not, and says what is wrong.
    if (field.options && field.selectedIndex < 0) field.add(new Option(value, value, true, true));
  }
  refresh();
}

async function begin() {
  network = await ask("network");
  const classes = network.classes.length;
  document.title = `Explore ${network.name}`;
  byId("name").textContent = network.name;
  byId("facts").textContent = [
    `${network.width}×${network.height}`,
    classes ? `${classes} classes` : "no classes",
    `${network.kimg} kimg`,
    network.device,
    network.precision,
  ].join(" · ");
  fields.seed.max = network.max_seed;
  fields.rows.max = fields.columns.max = network.max_side;
  for (const part of form.querySelectorAll(".with-classes")) part.hidden = classes === 0;
  byId("noise").hidden = !network.noise;
  offerClasses(fields.first_class, byId("find-first"), "each seed draws its own");
  offerClasses(fields.second_class, byId("find-second"), "no other");

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.type !== "search") refresh();
  });
  byId("previous").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  byId("random").addEventListener("click", () => {
    fields.seed.value = crypto.getRandomValues(new Uint32Array(1))[0] % 1e6;
    refresh();
  });
  byId("copy").addEventListener("click", () => {
    const copied = () => (byId("status").textContent = "Copied");
    navigator.clipboard.writeText(byId("command").textContent).then(copied, complain);
  });
  addEventListener("hashchange", readAddress);
  readAddress();
}

begin().catch(complain);
