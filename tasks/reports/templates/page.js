"use strict";
const CHUNK = 48;
const jobs = JSON.parse(document.getElementById("jobs").textContent);
const byId = id => document.getElementById(id);
const cards = byId("cards"), more = byId("more"), search = byId("search"), reason = byId("reason");
const NO_FILTERS = {state: "", reason: "", marked: false, q: ""};
const filters = {...NO_FILTERS};
let found = jobs, shown = 0;

for (const job of jobs) job.text = [job.id, job.name, job.image, job.prompt, job.reason?.code, job.reason?.message,
  ...(job.findings ?? []), ...(job.data ?? []).flat()].join("\n").toLowerCase();

// Texts are set as text, never as markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter(child => child !== undefined && child !== ""));
  return element;
}
const number = n => n.toLocaleString("en");
const megabytes = bytes => `${(bytes / 1e6).toFixed(1)} MB`;
const seconds = value => `${value.toFixed(1)} s`;
const count = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

function play(job, screen) {
  const video = make("video", {controls: "", playsinline: "", preload: "auto", src: job.clip.src, "aria-label": job.name});
  if (job.clip.poster) video.poster = job.clip.poster;
  const box = make("div", {class: "screen"}, video);
  video.addEventListener("play", () => {
    for (const other of cards.querySelectorAll("video")) if (other !== video) other.pause();
  });
  video.addEventListener("error", () => box.append(make("p", {class: "play", role: "alert"}, "The clip cannot be opened from here.")));
  screen.replaceWith(box);
  video.focus();
  video.play().catch(() => {});
}

function screen(job) {
  if (!job.clip) return make("div", {class: "screen"}, "no clip");
  if (!job.clip.src) return make("div", {class: "screen"}, "stored where a browser cannot open it");
  const button = make("button", {type: "button", class: "screen", "aria-label": `Play ${job.name}, ${seconds(job.clip.seconds)}`});
  if (job.clip.poster) button.append(make("img", {src: job.clip.poster, alt: "", loading: "lazy", decoding: "async"}));
  button.append(make("span", {class: "play"}, `▶ ${seconds(job.clip.seconds)}`));
  button.addEventListener("click", () => play(job, button));
  return button;
}

// Texts between backticks are commands.
const withCommands = text => text.split("`").map((part, n) => n % 2 ? make("code", {}, part) : part);

function reasonText(job) {
  if (!job.reason) return "";
  return make("p", {class: `reason ${job.state}`}, make("strong", {}, job.reason.code), " ",
    make("span", {}, ...withCommands(`${job.reason.message} ${job.reason.remedy}`)));
}

function details(job) {
  const list = make("dl");
  const row = (name, ...value) => { if (value[0]) list.append(make("dt", {}, name), make("dd", {}, ...value)); };
  row("Job", job.id);
  row("Row", job.row && String(job.row));
  row("Image", job.image);
  if (job.clip) {
    const {src, address, expires, width, height, bytes, codec} = job.clip;
    row("Clip", src ? make("a", {href: src}, address) : address);
    if (expires) row("Link opens until", expires);
    row("Video", `${width} × ${height}, ${seconds(job.clip.seconds)}, ${megabytes(bytes)}, ${codec}`);
  }
  row("Timeline", job.timeline);
  row("Reply", job.reply);
  row("Credits", job.credits && `${job.estimated ? "about " : ""}${job.credits}`);
  for (const [name, value] of job.data ?? []) row(name, value);
  return make("details", {}, make("summary", {}, "Details"), list);
}

function card(job) {
  return make("article", {id: job.id, "data-state": job.state, "aria-label": job.name}, screen(job),
    make("div", {class: "text"},
      make("div", {class: "head"}, make("h2", {}, job.name), make("span", {class: `state ${job.state}`}, job.state)),
      make("p", {}, job.prompt), reasonText(job),
      job.findings ? make("p", {class: "reason marked"}, make("strong", {}, "quality"), " ", make("span", {}, job.findings.join(" "))) : "",
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
  const terms = filters.q.toLowerCase().split(/\s+/).filter(Boolean);
  found = jobs.filter(job => (!filters.state || job.state === filters.state) && (!filters.reason || job.reason?.code === filters.reason)
    && (!filters.marked || job.findings) && terms.every(term => job.text.includes(term)));
  cards.replaceChildren();
  shown = 0;
  showMore();
  byId("none").hidden = found.length > 0;
  byId("count").textContent = found.length === jobs.length ? count(jobs.length, "job")
    : `${number(found.length)} of ${count(jobs.length, "job")}`;
  for (const button of document.querySelectorAll("button[data-state]")) button.setAttribute("aria-pressed", button.dataset.state === filters.state);
  byId("marked").setAttribute("aria-pressed", filters.marked);
  if (document.activeElement !== search) search.value = filters.q;
  reason.value = filters.reason;
  performance.measure("filter", "filter");
}

// The filters are kept in the fragment of the address, so that a view can be shared.
function readFilters(fragment) {
  const params = new URLSearchParams(fragment.slice(1));
  Object.assign(filters, {state: params.get("state") ?? "", reason: params.get("reason") ?? "", marked: params.has("marked"), q: params.get("q") ?? ""});
}
function setFilters(changed) {
  Object.assign(filters, changed);
  const params = new URLSearchParams(Object.entries(filters).filter(([, value]) => value).map(([name, value]) => [name, value === true ? "1" : value]));
  history.replaceState(null, "", `#${params}`);
  filter();
}

function countBy(key) {
  const counts = new Map();
  for (const job of jobs) if (key(job)) counts.set(key(job), (counts.get(key(job)) ?? 0) + 1);
  return [...counts].sort();
}
function renderControls() {
  // Rows of equal content share a job, which counts once.
  const own = [...new Map(jobs.map(job => [job.id, job])).values()];
  const clips = own.filter(job => job.clip).map(job => job.clip);
  const sum = values => values.reduce((total, value) => total + value, 0);
  const done = jobs.filter(job => job.state === "succeeded").length;
  byId("totals").textContent = [`${number(done)} of ${count(jobs.length, "job")} succeeded`,
    `${number(Math.round(sum(clips.map(clip => clip.seconds))))} s of video`, megabytes(sum(clips.map(clip => clip.bytes))),
    `${jobs.some(job => job.estimated) ? "about " : ""}${number(sum(own.map(job => job.credits ?? 0)))} credits`].join(" · ");
  for (const [state, n] of [["", jobs.length], ...countBy(job => job.state)]) {
    const button = make("button", {type: "button", "data-state": state}, `${state || "all"} ${number(n)}`);
    button.addEventListener("click", () => setFilters({state}));
    byId("states").append(button);
  }
  const reasons = countBy(job => job.reason?.code);
  for (const [code, n] of reasons) reason.append(make("option", {value: code}, `${code} ${number(n)}`));
  reason.hidden = !reasons.length;
  const marked = jobs.filter(job => job.findings).length;
  byId("marked").hidden = !marked;
  byId("marked").textContent = `quality issues ${number(marked)}`;
}

renderControls();
readFilters(location.hash);
filter();
performance.measure("first render");
byId("marked").addEventListener("click", () => setFilters({marked: !filters.marked}));
reason.addEventListener("change", () => setFilters({reason: reason.value}));
search.addEventListener("input", () => setFilters({q: search.value}));
byId("clear").addEventListener("click", () => { search.value = ""; setFilters(NO_FILTERS); search.focus(); });
addEventListener("hashchange", () => { readFilters(location.hash); filter(); });
addEventListener("keydown", event => {
  const typing = event.target.closest("input, select, video");
  if (event.key === "/" && !typing) { event.preventDefault(); search.focus(); }
  if (event.key === "Escape" && event.target === search) { search.value = ""; setFilters({q: ""}); }
});
more.addEventListener("click", () => {
  const first = shown;
  showMore();
  cards.children[first]?.querySelector("button, summary")?.focus();
});
new IntersectionObserver(seen => { if (seen.some(entry => entry.isIntersecting) && !more.hidden) showMore(); }, {rootMargin: "1500px"}).observe(more);
