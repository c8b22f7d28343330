"use strict";
const CHUNK = 48;
const jobs = JSON.parse(document.getElementById("jobs").textContent);
const at = id => document.getElementById(id);
const cards = at("cards"), more = at("more"), search = at("search"), reason = at("reason");
const wish = {state: "", reason: "", marked: false, q: ""};
let found = jobs, shown = 0;

for (const job of jobs) job.text = [job.id, job.name, job.image, job.prompt, job.why?.code, job.why?.message,
  ...(job.marks ?? []), ...(job.data ?? []).flat()].join("\n").toLowerCase();

// Every text is set as text, never as markup.
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter(child => child !== undefined && child !== ""));
  return made;
}
const megabytes = bytes => `${(bytes / 1e6).toFixed(1)} MB`;
const seconds = value => `${value.toFixed(1)} s`;
const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function play(job, screen) {
  const film = make("video", {controls: "", playsinline: "", preload: "auto", src: job.clip.src, "aria-label": job.name});
  if (job.clip.poster) film.poster = job.clip.poster;
  const box = make("div", {class: "screen"}, film);
  film.addEventListener("play", () => {
    for (const other of cards.querySelectorAll("video")) if (other !== film) other.pause();
  });
  film.addEventListener("error", () => box.append(make("p", {class: "play", role: "alert"}, "The clip cannot be opened from here.")));
  screen.replaceWith(box);
  film.focus();
  film.play().catch(() => {});
}

function screen(job) {
  if (!job.clip) return make("div", {class: "screen"}, "no clip");
  if (!job.clip.src) return make("div", {class: "screen"}, "in a store that a browser cannot open");
  const button = make("button", {type: "button", class: "screen", "aria-label": `Play ${job.name}, ${seconds(job.clip.seconds)}`});
  if (job.clip.poster) button.append(make("img", {src: job.clip.poster, alt: "", loading: "lazy", decoding: "async"}));
  button.append(make("span", {class: "play"}, `▶ ${seconds(job.clip.seconds)}`));
  button.addEventListener("click", () => play(job, button));
  return button;
}

// What stands between backticks is a command.
const withCommands = text => text.split("`").map((part, n) => n % 2 ? make("code", {}, part) : part);

function why(job) {
  if (!job.why) return "";
  return make("p", {class: `why ${job.state}`}, make("strong", {}, job.why.code), " ",
    make("span", {}, ...withCommands(`${job.why.message} ${job.why.remedy}`)));
}

function details(job) {
  const list = make("dl");
  const row = (name, ...value) => { if (value[0]) list.append(make("dt", {}, name), make("dd", {}, ...value)); };
  row("Job", job.id);
  row("Row", job.row && String(job.row));
  row("Image", job.image);
  if (job.clip) {
    const {src, address, width, height, bytes, codec} = job.clip;
    row("Clip", src ? make("a", {href: src}, address) : address);
    row("Film", `${width} × ${height}, ${seconds(job.clip.seconds)}, ${megabytes(bytes)}, ${codec}`);
  }
  row("Timeline", job.timeline);
  row("Reply", job.reply);
  row("Credits", job.credits && `${job.about ? "about " : ""}${job.credits}`);
  for (const [name, value] of job.data ?? []) row(name, value);
  return make("details", {}, make("summary", {}, "Details"), list);
}

function card(job) {
  return make("article", {id: job.id, "data-state": job.state, "aria-label": job.name}, screen(job),
    make("div", {class: "text"},
      make("div", {class: "head"}, make("h2", {}, job.name), make("span", {class: `state ${job.state}`}, job.state)),
      make("p", {}, job.prompt), why(job),
      job.marks ? make("p", {class: "why marked"}, make("strong", {}, "marked"), " ", make("span", {}, job.marks.join(" "))) : "",
      job.progress ? make("p", {}, job.progress) : "", details(job)));
}

function showMore() {
  const next = found.slice(shown, shown + CHUNK);
  cards.append(...next.map(card));
  shown += next.length;
  more.hidden = shown >= found.length;
}

function filter() {
  performance.mark("filter");
  const words = wish.q.toLowerCase().split(/\s+/).filter(Boolean);
  found = jobs.filter(job => (!wish.state || job.state === wish.state) && (!wish.reason || job.why?.code === wish.reason)
    && (!wish.marked || job.marks) && words.every(word => job.text.includes(word)));
  cards.replaceChildren();
  shown = 0;
  showMore();
  at("none").hidden = found.length > 0;
  at("count").textContent = found.length === jobs.length ? count(jobs.length, "job")
    : `${found.length.toLocaleString("en")} of ${count(jobs.length, "job")}`;
  for (const button of document.querySelectorAll("button[data-state]")) button.setAttribute("aria-pressed", button.dataset.state === wish.state);
  at("marked").setAttribute("aria-pressed", wish.marked);
  if (document.activeElement !== search) search.value = wish.q;
  reason.value = wish.reason;
  performance.measure("filter", "filter");
}

// The wish stands in the address, so that a view can be handed on.
function wishFrom(fragment) {
  const asked = new URLSearchParams(fragment.slice(1));
  Object.assign(wish, {state: asked.get("state") ?? "", reason: asked.get("reason") ?? "", marked: asked.has("marked"), q: asked.get("q") ?? ""});
}
function change(part) {
  Object.assign(wish, part);
  const asked = new URLSearchParams(Object.entries(wish).filter(([, value]) => value).map(([name, value]) => [name, value === true ? "1" : value]));
  history.replaceState(null, "", `#${asked}`);
  filter();
}

function tally(key) {
  const counts = new Map();
  for (const job of jobs) if (key(job)) counts.set(key(job), (counts.get(key(job)) ?? 0) + 1);
  return [...counts].sort();
}
function furnish() {
  const clips = jobs.filter(job => job.clip).map(job => job.clip);
  const sum = values => values.reduce((total, value) => total + value, 0);
  const done = jobs.filter(job => job.state === "succeeded").length;
  at("totals").textContent = [`${done.toLocaleString("en")} of ${count(jobs.length, "job")} done`,
    `${Math.round(sum(clips.map(clip => clip.seconds))).toLocaleString("en")} s of film`, megabytes(sum(clips.map(clip => clip.bytes))),
    `${jobs.some(job => job.about) ? "about " : ""}${sum(jobs.map(job => job.credits ?? 0)).toLocaleString("en")} credits`].join(" · ");
  for (const [state, n] of [["", jobs.length], ...tally(job => job.state)]) {
    const button = make("button", {type: "button", "data-state": state}, `${state || "all"} ${n.toLocaleString("en")}`);
    button.addEventListener("click", () => change({state}));
    at("states").append(button);
  }
  const reasons = tally(job => job.why?.code);
  for (const [code, n] of reasons) reason.append(make("option", {value: code}, `${code} ${n.toLocaleString("en")}`));
  reason.hidden = !reasons.length;
  const marked = jobs.filter(job => job.marks).length;
  at("marked").hidden = !marked;
  at("marked").textContent = `marked ${marked.toLocaleString("en")}`;
}

furnish();
wishFrom(location.hash);
filter();
performance.measure("first render");
at("marked").addEventListener("click", () => change({marked: !wish.marked}));
reason.addEventListener("change", () => change({reason: reason.value}));
search.addEventListener("input", () => change({q: search.value}));
at("clear").addEventListener("click", () => { search.value = ""; change({state: "", reason: "", marked: false, q: ""}); search.focus(); });
addEventListener("hashchange", () => { wishFrom(location.hash); filter(); });
addEventListener("keydown", event => {
  const typing = event.target.closest("input, select, video");
  if (event.key === "/" && !typing) { event.preventDefault(); search.focus(); }
  if (event.key === "Escape" && event.target === search) { search.value = ""; change({q: ""}); }
});
more.addEventListener("click", () => {
  const first = shown;
  showMore();
  cards.children[first]?.querySelector("button, summary")?.focus();
});
new IntersectionObserver(seen => { if (seen.some(entry => entry.isIntersecting) && !more.hidden) showMore(); }, {rootMargin: "1500px"}).observe(more);
