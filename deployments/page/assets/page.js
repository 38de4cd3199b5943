// The page where one drops X-rays: send what is chosen, then follow the run until it is done.

const TOGETHER = 3; // files on their way at the same time
const POLL = 1000; // milliseconds
const TRIES = 10; // where the server is busy

const sleep = (time) => new Promise((done) => setTimeout(done, time));

async function answer(request) {
  let response;
  try {
    response = await request();
  } catch {
    return { problem: "The page's server does not answer: see `make up`." };
  }
  const content = await response.json().catch(() => ({}));
  if (response.ok) return content;
  return { problem: content.problem || `The page's server answers ${response.status}.`, status: response.status };
}

function showProblems(problems) {
  const list = document.getElementById("problems");
  list.replaceChildren(
    ...problems.map((words) => {
      const item = document.createElement("li");
      item.textContent = words; // text, whatever a file is called
      return item;
    }),
  );
  list.hidden = problems.length === 0;
}

// ---- the first page ----

function say(words) {
  const line = document.createElement("p");
  line.textContent = words;
  document.getElementById("status").replaceChildren(...(words ? [line] : []));
}

async function entries(directory) {
  const reader = directory.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail)); // a hundred at a time
    if (some.length === 0) return found;
    found.push(...some);
  }
}

async function filesOf(entry, most) {
  if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
  const found = [];
  for (const each of await entries(entry)) {
    if (!each.name.startsWith(".")) found.push(...(await filesOf(each, most)));
    if (found.length > most) break;
  }
  return found;
}

async function dropped(transfer, most) {
  const roots = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (roots.length === 0) return [...transfer.files];
  const found = [];
  for (const root of roots) found.push(...(await filesOf(root, most)));
  return found;
}

async function send(file, limit) {
  if (file.size > limit)
    return { problem: `It is larger than ${Math.floor(limit / 1e6)} MB, the most that is taken: export it smaller.` };
  const headers = { "Content-Type": "application/octet-stream", "X-Picture-Name": encodeURIComponent(file.name) };
  for (let attempt = 1; ; attempt++) {
    const found = await answer(() => fetch("/uploads", { method: "PUT", headers, body: file }));
    if (found.status !== 503 || attempt === TRIES) return found;
    await sleep(POLL);
  }
}

async function sendAll(files, limit) {
  const found = new Array(files.length);
  let next = 0;
  let done = 0;
  const one = async () => {
    while (next < files.length) {
      const place = next++;
      found[place] = await send(files[place], limit);
      done++;
      if (files.length > 1) say(`${done} of ${files.length} files are here.`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(TOGETHER, files.length) }, one));
  return found;
}

async function start(pictures, problems) {
  say("Starting …");
  const found = await answer(() =>
    fetch("/runs", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ pictures }),
    }),
  );
  if (found.problem) {
    say("");
    showProblems([...problems, found.problem]);
    return;
  }
  sessionStorage.setItem(found.address, JSON.stringify(problems));
  location.assign(found.address);
}

function frontPage(form) {
  const limit = (name) => Number(form.dataset[name]);
  const others = document.getElementById("others");
  let busy = false;

  const look = async (choose) => {
    if (busy) return;
    busy = true;
    form.classList.add("busy");
    others.hidden = true;
    showProblems([]);
    say("Reading …");
    try {
      const files = await choose();
      const size = files.reduce((sum, file) => sum + file.size, 0);
      let problems = [];
      let pictures = [];
      if (files.length === 0) problems = ["There is no file in it: choose another."];
      else if (files.length > limit("files"))
        problems = [`More than ${limit("files")} files were chosen: choose fewer, or run \`python -m flows.cases\`.`];
      else if (size > limit("batchBytes"))
        problems = [`Together the files have more than ${Math.floor(limit("batchBytes") / 1e6)} MB: choose fewer.`];
      else {
        say(files.length === 1 ? "Sending the file …" : `Sending ${files.length} files …`);
        const found = await sendAll(files, limit("fileBytes"));
        pictures = found.filter((each) => each.picture).map((each) => each.picture);
        problems = found.flatMap((each, place) => {
          if (!each.problem) return [];
          const name = files[place].name;
          return [each.problem.includes(name) ? each.problem : `${name}: ${each.problem}`];
        });
      }
      showProblems(problems);
      say("");
      if (problems.length === 0) await start(pictures, []);
      else if (pictures.length > 0) {
        others.hidden = false;
        const button = others.querySelector("button");
        button.textContent = pictures.length === 1 ? "Look at the other one" : `Look at the other ${pictures.length}`;
        button.onclick = () => {
          others.hidden = true; // a second press would start a second run
          start(pictures, problems);
        };
        button.focus();
      }
    } catch {
      say("");
      showProblems(["The files cannot be read: choose them again."]);
    } finally {
      busy = false;
      form.classList.remove("busy");
      form.reset();
    }
  };

  const hidden = (file) => file.name.startsWith(".");
  for (const input of form.querySelectorAll("input"))
    input.addEventListener("change", () => {
      const files = [...input.files];
      if (files.length > 0) look(async () => (input.id === "folder" ? files.filter((file) => !hidden(file)) : files));
    });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["dragenter", "dragover"])
    addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.add("over");
    });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) form.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    const files = dropped(event.dataTransfer, limit("files")); // now: the entries are gone once this event is over
    look(() => files);
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}

// ---- the page of a run ----

async function follow(run, stage) {
  const words = document.getElementById("words");
  while (stage === "waiting" || stage === "running") {
    await sleep(POLL);
    if (document.hidden) continue;
    const found = await answer(() => fetch(`/runs/${run}/progress`));
    if (words.textContent !== (found.problem || found.words)) words.textContent = found.problem || found.words;
    stage = found.stage || stage;
  }
  location.reload();
}

function fitFrame(frame) {
  let first = true;
  const fit = () => {
    const inner = frame.contentDocument;
    if (!inner?.body) return;
    for (const link of inner.querySelectorAll("a[href]"))
      if (link.origin !== location.origin) {
        link.target = "_blank";
        link.rel = "noopener";
      }
    const grow = () => {
      frame.style.height = `${inner.documentElement.offsetHeight + 2}px`;
    };
    new ResizeObserver(grow).observe(inner.documentElement);
    grow();
    if (!first) frame.scrollIntoView(); // another page in it begins at its top
    first = false;
  };
  frame.addEventListener("load", fit);
  if (frame.contentDocument?.readyState === "complete" && frame.contentDocument.URL !== "about:blank") fit();
}

const form = document.getElementById("drop");
const main = document.querySelector("main[data-run]");
if (form) frontPage(form);
if (main) {
  showProblems(JSON.parse(sessionStorage.getItem(location.pathname) || "[]"));
  const frame = main.querySelector("iframe");
  if (frame) fitFrame(frame);
  else if (main.dataset.stage !== "failed") follow(main.dataset.run, main.dataset.stage);
}
