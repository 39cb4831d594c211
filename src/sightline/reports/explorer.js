"use strict";
/* The page's own arithmetic: plain lists of numbers in, plain lists out. Sizes are pairs (rows, columns). */
const arithmetic = (() => {
  const outer = (n, k, s, p, d) => {
    const free = n + 2 * p - d * (k - 1) - 1;
    return free < 0 ? 0 : Math.floor(free / s) + 1;
  };

  /* The channels that a map reads, as [first, number]: those of its group; of a pool, its own. */
  function heard({ mode, kernel, groups }, m) {
    const count = mode === "convolution" ? kernel[m].length : 1;
    return [mode === "convolution" ? Math.floor(m * (groups ?? 1) / kernel.length) * count : m, count];
  }

  /* What lies under the window at one output number: [{channel, row, column, value, weight, padding}]. */
  function terms(ask, m, row, column) {
    const { mode, image, kernel, size, stride, padding, dilation } = ask;
    const found = [], [first, count] = heard(ask, m);
    for (let c = first; c < first + count; c++)
      for (let i = 0; i < size[0]; i++)
        for (let j = 0; j < size[1]; j++) {
          const y = row * stride[0] - padding[0] + i * dilation[0], x = column * stride[1] - padding[1] + j * dilation[1];
          const inside = y >= 0 && x >= 0 && y < image[c].length && x < image[c][0].length;
          const weight = mode === "convolution" ? kernel[m][c - first][i][j] : mode === "max" ? 1 : 1 / (size[0] * size[1]);
          found.push({ channel: c, row: y, column: x, value: inside ? image[c][y][x] : mode === "max" ? -Infinity : 0, weight, padding: !inside });
        }
    return found;
  }

  /* The whole output, and which pixels are ever read. */
  function slide(ask) {
    const { mode, image, kernel, bias, size, stride, padding, dilation } = ask;
    const rows = outer(image[0].length, size[0], stride[0], padding[0], dilation[0]);
    const columns = outer(image[0][0].length, size[1], stride[1], padding[1], dilation[1]);
    const maps = mode === "convolution" ? kernel.length : image.length, output = [];
    const read = image[0].map(line => line.map(() => false));
    for (let m = 0; m < maps; m++) {
      output.push([]);
      for (let r = 0; r < rows; r++) {
        output[m].push([]);
        for (let c = 0; c < columns; c++) {
          const found = terms(ask, m, r, c);
          let value = mode === "max" ? -Infinity : bias ? bias[m] : 0;
          for (const t of found) {
            value = mode === "max" ? Math.max(value, t.value) : value + t.value * t.weight;
            if (!t.padding) read[t.row][t.column] = true;
          }
          output[m][r].push(value);
        }
      }
    }
    return { output, rows, columns, read };
  }

  /* The slope of the mean squared difference from a target, for every weight; and that difference. */
  function slope(ask, target) {
    const { output } = slide(ask), grad = ask.kernel.map(k => k.map(g => g.map(line => line.map(() => 0))));
    let loss = 0;
    const count = output.length * output[0].length * output[0][0].length;
    output.forEach((map, m) => map.forEach((line, r) => line.forEach((value, c) => {
      const off = value - target[m][r][c];
      loss += off * off / count;
      terms(ask, m, r, c).forEach((t, at) => {
        const within = at % (ask.size[0] * ask.size[1]);
        grad[m][t.channel - heard(ask, m)[0]][Math.floor(within / ask.size[1])][within % ask.size[1]] += 2 * off * t.value / count;
      });
    })));
    return { grad, loss };
  }

  /* The largest curvature of that loss, by power iteration: the learning rate 1 / curvature never overshoots. */
  function curvature(ask) {
    const zero = { ...ask, bias: null }, nothing = slide(zero).output.map(map => map.map(line => line.map(() => 0)));
    let v = ask.kernel.map((k, m) => k.map(g => g.map((line, i) => line.map((_, j) => 1 + ((i * 7 + j * 3 + m) % 5) / 9)))), length = 0;
    for (let turn = 0; turn < 60; turn++) {
      const w = slope({ ...zero, kernel: v }, nothing).grad;
      length = Math.sqrt(w.flat(3).reduce((sum, n) => sum + n * n, 0));
      if (!length) return 0;
      v = w.map(k => k.map(g => g.map(line => line.map(n => n / length))));
    }
    return length;
  }

  return { outer, heard, terms, slide, slope, curvature };
})();

/* The page. */
(() => {
  const given = JSON.parse(document.getElementById("given").textContent);
  const $ = id => document.getElementById(id);
  const copy = value => JSON.parse(JSON.stringify(value));
  const clamp = (n, low, high) => Math.min(Math.max(n, low), high);
  let state = { ...copy(given.start), at: 0 };
  try { if (location.hash.length > 1) state = { ...state, ...JSON.parse(decodeURIComponent(location.hash.slice(1))) }; } catch { /* a broken address begins anew */ }
  let shown = null, peek = null, timer = null, learnt = null;

  const say = (n, digits = 4) => {
    if (!isFinite(n)) return n > 0 ? "∞" : "−∞";
    let told = Math.abs(n) >= 1e7 || (n && Math.abs(n) < 1e-4) ? n.toExponential(1) : String(+n.toPrecision(Math.abs(n) >= 1 && Math.abs(n) < 1e7 ? Math.max(digits, String(Math.trunc(Math.abs(n))).length) : digits));
    if (told === "0" || told === "-0") return "0";
    return told.replace("-", "−");
  };
  const inside = n => n < 0 ? `(${say(n)})` : say(n);
  const plain = text => parseFloat(String(text).replace("−", "-").replace(",", "."));
  const counted = n => n.toLocaleString("en-US");
  const node = (kind, cls, text) => { const made = document.createElement(kind); if (cls) made.className = cls; if (text !== undefined) made.textContent = text; return made; };

  function ask() {
    const pools = state.mode !== "convolution", k = pools ? state.size : state.kernel[0][0].length, l = pools ? state.size : state.kernel[0][0][0].length;
    const pad = pools ? Math.min(state.padding, Math.floor(state.size / 2)) : state.padding;
    const spread = state.mode === "average" ? 1 : state.dilation;
    return { mode: state.mode, image: state.image, kernel: state.kernel, bias: null, groups: state.groups, size: [k, l], stride: [state.stride, state.stride], padding: [pad, pad], dilation: [spread, spread] };
  }

  /* Changes of shape: everything that is given keeps as many of its numbers as fit. */
  function resized(grid, rows, columns) { return Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => grid[r]?.[c] ?? 0)); }
  function channels(count) {
    const alone = state.groups > 1 && state.groups === state.image.length;
    state.image = Array.from({ length: count }, (_, c) => copy(state.image[c] ?? state.image[0]));
    grouped(alone ? count : count % state.groups ? 1 : state.groups);
  }
  const each = make => Array.from({ length: state.image.length / state.groups }, (_, c) => make(c)); /* channel of a group */
  function grouped(count) {
    const had = state.kernel, most = state.groups > count ? Math.max(had.length / state.groups, 1) * count : had.length;
    state.groups = count;
    state.kernel = Array.from({ length: Math.ceil(most / count) * count }, (_, m) => { const k = had[m % had.length]; return each(c => copy(k[c] ?? k[0])); });
    if (given.kernels[state.named] && (count > 1 || ["mix", "swap"].includes(state.named))) preset(state.named);
  }
  function maps(count) {
    const others = ["edge", "vertical", "horizontal", "sharpen", "blur", "identity"].map(name => given.kernels[name][state.size]).filter(Boolean);
    const like = m => each(() => copy(others[m % others.length] ?? state.kernel[0][0]));
    state.kernel = Array.from({ length: count }, (_, m) => state.kernel[m] ?? like(m));
  }
  function preset(name) {
    const pick = given.kernels[name], sizes = Object.keys(pick).map(Number);
    if (!pick[state.size]) state.size = sizes.includes(3) ? 3 : sizes[0];
    const wide = state.image.length / state.groups;
    if (name === "mix") state.kernel = Array.from({ length: state.groups }, () => each(() => [[1 / wide]]));
    else if (name === "swap") state.kernel = state.image.map((_, m) => each(c => [[+(m % wide + c === wide - 1)]]));
    else state.kernel = state.kernel.map((k, m) => each(c => m && state.groups === 1 ? resized(k[c] ?? k[0], state.size, state.size) : copy(pick[state.size])));
    state.named = name;
  }
  function sized(size) {
    state.size = size;
    if (state.mode !== "convolution") return;
    const pick = given.kernels[state.named]?.[size];
    if (pick && !["mix", "swap"].includes(state.named)) return preset(state.named);
    state.kernel = state.kernel.map(k => k.map(g => resized(g, size, size)));
    state.named = "own";
  }
  function random() {
    let seed = 7;
    const next = () => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed / 2147483648 - 0.5; };
    state.groups = 1;
    state.kernel = [state.image.map(() => resized([], state.size, state.size).map(line => line.map(() => +(next() * 0.4).toFixed(3))))];
  }
  function lesson() {
    const goal = given.kernels[state.goal]?.[state.size] ? state.goal : "identity";
    const wanted = { ...ask(), kernel: [state.image.map(() => given.kernels[goal][state.size] ?? resized([[1]], state.size, state.size))] };
    const top = arithmetic.curvature(ask());
    learnt = { target: arithmetic.slide(wanted).output, rate: top ? 1 / top : 0, losses: [] };
    learnt.losses.push(arithmetic.slope(ask(), learnt.target).loss);
  }
  function descend(steps) {
    for (let i = 0; i < steps; i++) {
      const { grad } = arithmetic.slope(ask(), learnt.target);
      state.kernel = state.kernel.map((k, m) => k.map((g, c) => g.map((line, r) => line.map((n, j) => n - learnt.rate * grad[m][c][r][j]))));
      learnt.losses.push(arithmetic.slope(ask(), learnt.target).loss);
    }
    build();
  }

  /* Drawing: grids are made anew when their shape changes; a step only repaints. */
  function grid(place, lines, make) {
    const made = node("div", "grid");
    made.style.setProperty("--n", lines[0]);
    for (let r = 0; r < lines[1]; r++) for (let c = 0; c < lines[0]; c++) made.append(make(r, c));
    place.append(made);
    return made;
  }
  function field(cls, value, label, change) {
    const made = node("input", cls);
    made.type = "text"; made.inputMode = "decimal"; made.autocomplete = "off"; made.value = say(value, 3); made.title = label + ": " + say(value, 8); made.setAttribute("aria-label", label);
    made.addEventListener("focus", () => made.select());
    made.addEventListener("change", () => { const n = plain(made.value); if (isFinite(n)) change(n); build(); });
    made.addEventListener("keydown", event => { if (event.key === "Enter") made.blur(); event.stopPropagation(); });
    return made;
  }
  const tint = (cell, value, most) => {
    const share = most && isFinite(value) ? Math.min(Math.abs(value) / most, 1) : 0;
    cell.style.setProperty("--share", `${Math.round(share * 62)}%`);
    cell.style.setProperty("--sign", value < 0 ? "var(--wrong)" : "var(--right)");
  };
  const most = grids => Math.max(...grids.flat(3).map(Math.abs).filter(isFinite), 0);
  const fit = (made, texts) => made.style.setProperty("--letters", Math.max(2, ...texts.map(text => text.length)));

  let cells = { image: [], output: [] };
  function build() {
    const question = ask(), pools = state.mode !== "convolution", [padded] = question.padding;
    shown = arithmetic.slide(question);
    const count = shown.output.length * shown.rows * shown.columns;
    state.at = clamp(state.at, 0, Math.max(count - 1, 0));
    const rows = state.image[0].length, columns = state.image[0][0].length, several = state.image.length > 1;
    $("stage").classList.toggle("empty", !count);
    for (const id of ["image", "kernel", "output"]) $(id).replaceChildren();
    cells = { image: [], output: [] };
    const bright = most(state.image);
    state.image.forEach((channel, ch) => {
      if (several) $("image").append(node("p", "label", `channel ${ch}`));
      const texts = channel.flat().map(n => say(n, 3)), all = [];
      const made = grid($("image"), [columns + 2 * padded, rows + 2 * padded], (r, c) => {
        const y = r - padded, x = c - padded, within = y >= 0 && x >= 0 && y < rows && x < columns;
        const cell = within ? field("cell", channel[y][x], `pixel (${y}, ${x})${several ? ` of channel ${ch}` : ""}`, n => { state.image[ch][y][x] = n; state.picture = "own"; })
          : node("span", "cell pad", state.mode === "max" ? "" : "0");
        if (within) { tint(cell, channel[y][x], bright); cell.classList.toggle("unread", count > 0 && !shown.read[y][x]); }
        all.push([y, x, cell]);
        return cell;
      });
      fit(made, texts);
      cells.image.push(all);
    });
    $("kernelname").textContent = pools ? "Window" : "Kernel";
    if (pools) {
      const told = state.mode === "max" ? "max" : say(1 / state.size ** 2, 3);
      fit(grid($("kernel"), [state.size, state.size], () => node("span", "cell", told)), [told]);
    } else state.kernel.forEach((kernel, m) => {
      const own = node("div", "own"); own.dataset.map = m;
      kernel.forEach((taps, ch) => {
        if (several || state.kernel.length > 1) own.append(node("p", "label", [state.kernel.length > 1 && `map ${m}`, several && `channel ${arithmetic.heard(question, m)[0] + ch}`].filter(Boolean).join(", ")));
        const made = grid(own, [taps[0].length, taps.length], (r, c) => {
          const cell = field("cell", taps[r][c], `weight (${r}, ${c})`, n => { state.kernel[m][ch][r][c] = n; if (state.named !== "learnable") state.named = "own"; });
          tint(cell, taps[r][c], most(state.kernel));
          return cell;
        });
        fit(made, taps.flat().map(n => say(n, 3)));
      });
      $("kernel").append(own);
    });
    const strong = most(shown.output);
    shown.output.forEach((map, m) => {
      if (shown.output.length > 1) $("output").append(node("p", "label", `map ${m}`));
      const all = [];
      if (!count) return;
      const made = grid($("output"), [shown.columns, shown.rows], (r, c) => {
        const cell = node("button", "cell", say(map[r][c], 3)), at = (m * shown.rows + r) * shown.columns + c;
        cell.type = "button"; cell.title = `output (${r}, ${c}) = ${say(map[r][c], 8)}`;
        tint(cell, map[r][c], strong);
        cell.addEventListener("pointerenter", event => { if (event.pointerType === "mouse") { peek = at; paint(); } });
        cell.addEventListener("pointerleave", () => { peek = null; paint(); });
        cell.addEventListener("click", () => { pause(); peek = null; state.at = at; paint(); });
        all.push(cell);
        return cell;
      });
      fit(made, map.flat().map(n => say(n, 3)));
      cells.output.push(...all);
    });
    $("slider").max = Math.max(count - 1, 0);
    room(columns + 2 * padded, pools ? state.size : state.kernel[0][0][0].length, shown.columns);
    sizes(question); costs(question); controls(); school(); paint();
  }
  function room(...columns) {
    const wide = $("stage").clientWidth, gaps = 2 * 40, inRow = Math.floor((wide - gaps) / columns.reduce((a, b) => a + b, 0));
    const stacked = Math.floor(wide / Math.max(...columns));
    const tall = state.image.length > 1 ? Math.max(Math.floor(600 / (state.image.length * state.image[0].length)), 24) : 46;
    $("stage").style.setProperty("--cell", `${clamp(inRow >= 26 ? inRow : stacked, 14, tall)}px`);
  }
  function paint() {
    const question = ask(), pools = state.mode !== "convolution", count = cells.output.length;
    if (!count) { $("sum").replaceChildren(node("p", "soft", "The window does not fit: take a smaller one, less dilation or more padding.")); $("where").textContent = ""; remember(); return; }
    const at = peek ?? state.at, m = Math.floor(at / (shown.rows * shown.columns)), r = Math.floor(at / shown.columns) % shown.rows, c = at % shown.columns;
    const [from, reads] = arithmetic.heard(question, m), found = arithmetic.terms(question, m, r, c), value = shown.output[m][r][c];
    const under = new Map(found.map(t => [`${t.row},${t.column}`, t]));
    cells.image.forEach((all, ch) => all.forEach(([y, x, cell]) => cell.classList.toggle("under", under.has(`${y},${x}`) && ch >= from && ch < from + reads)));
    cells.output.forEach((cell, i) => { cell.classList.toggle("now", i === at); cell.classList.toggle("later", i > state.at && i !== at); });
    document.querySelectorAll(".own").forEach(own => own.classList.toggle("aside", +own.dataset.map !== m));
    $("slider").value = state.at;
    $("where").textContent = `${at + 1} of ${count}`;
    const box = $("sum"), several = reads > 1;
    box.replaceChildren();
    const head = node("p", "head");
    head.append(node("b", "", `${shown.output.length > 1 ? `map ${m}, ` : ""}row ${r}, column ${c}`));
    box.append(head);
    const line = (label, list, part) => {
      const made = node("p", "terms");
      if (label) made.append(node("span", "label", label));
      if (state.mode === "max") {
        made.append("max(");
        const real = list.filter(t => !t.padding);
        real.forEach((t, i) => { made.append(i ? ", " : "", node("span", t.value === value ? "term won" : "term", say(t.value))); });
        made.append(")");
      } else if (state.mode === "average") {
        made.append("(");
        list.forEach((t, i) => made.append(i ? " + " : "", node("span", t.padding ? "term pad" : "term", inside(t.value))));
        made.append(`) / ${list.length}`);
      } else list.forEach((t, i) => {
        const term = node("span", t.padding ? "term pad" : t.value * t.weight === 0 ? "term nil" : "term");
        term.append(node("span", "value", inside(t.value)), "·", node("span", "weight", inside(t.weight)));
        made.append(i ? " + " : "", term);
      });
      if (part !== undefined) made.append(" = ", node("b", "", say(part, 6)));
      return made;
    };
    if (several) {
      state.image.forEach((_, ch) => { if (ch < from || ch >= from + reads) return; const list = found.filter(t => t.channel === ch); box.append(line(`channel ${ch}`, list, list.reduce((sum, t) => sum + t.value * t.weight, 0))); });
      const total = node("p", "terms"); total.append(node("span", "label", "together"), node("b", "result", say(value, 6))); box.append(total);
    } else { const made = line("", found); made.append(" = ", node("b", "result", say(value, 6))); box.append(made); }
    remember();
  }
  function sizes(question) {
    const place = $("sizes"); place.replaceChildren();
    ["rows", "columns"].forEach((name, axis) => {
      const n = axis ? state.image[0][0].length : state.image[0].length, k = question.size[axis], s = question.stride[axis], p = question.padding[axis], d = question.dilation[axis];
      const free = n + 2 * p - d * (k - 1) - 1, missed = [];
      for (let i = 0; i < n; i++) if (!(axis ? shown.read.some(line => line[i]) : shown.read[i].some(Boolean))) missed.push(i);
      const made = node("p");
      made.append(node("b", "", name), ` ⌊(${n} + 2·${p} − ${d}·(${k} − 1) − 1) / ${s}⌋ + 1 = `);
      made.append(free < 0 ? "none: the window is larger than the padded image" : `${free % s ? `⌊${free}/${s}⌋` : free / s} + 1 = `, node("b", "", free < 0 ? "" : String(axis ? shown.columns : shown.rows)));
      place.append(made);
      if (free >= 0 && missed.length) place.append(node("p", "missed", `${missed.length > 1 ? name : name.slice(0, -1)} ${missed.join(", ")} ${missed.length > 1 ? "are" : "is"} never read: whatever ${missed.length > 1 ? "they hold" : "it holds"}, the output stays the same.`));
    });
  }
  function costs(question) {
    const body = $("costs"); body.replaceChildren();
    const pools = state.mode !== "convolution", own = [state.image[0].length, state.image[0][0].length];
    $("cost").hidden = pools;
    if (pools) return;
    const into = state.image.length, out = state.kernel.length, weights = into / state.groups * out * question.size[0] * question.size[1];
    for (const [rows, columns] of [own, [28, 28], [224, 224]]) {
      const r = arithmetic.outer(rows, question.size[0], question.stride[0], question.padding[0], question.dilation[0]), c = arithmetic.outer(columns, question.size[1], question.stride[1], question.padding[1], question.dilation[1]);
      const dense = rows * columns * into * r * c * out, work = weights * r * c, line = node("tr");
      line.append(node("td", "", `${into}×${rows}×${columns} → ${out}×${r}×${c}`));
      for (const n of [weights, dense]) line.append(node("td", "number", counted(n)));
      line.append(node("td", "number strong", r * c ? `${counted(Math.round(dense / weights))}×` : ""));
      for (const n of [work, dense]) line.append(node("td", "number", counted(n)));
      line.append(node("td", "number strong", r * c ? `${counted(+(dense / work).toFixed(dense / work < 100 ? 1 : 0))}×` : ""));
      body.append(line);
    }
  }
  function school() {
    const on = state.named === "learnable" && state.mode === "convolution";
    $("lesson").hidden = !on;
    if (!on || !shown.rows || !shown.columns) { learnt = null; return; }
    if (!learnt || learnt.target[0].length !== shown.rows || learnt.target[0][0].length !== shown.columns) lesson();
    const losses = learnt.losses, last = losses.length - 1, low = Math.min(...losses.filter(n => n > 0)), high = Math.max(...losses);
    $("loss").textContent = `after ${last} step${last === 1 ? "" : "s"} the mean squared difference is ${say(losses[last], 3)}`;
    const y = n => 92 - 84 * (Math.log(Math.max(n, low)) - Math.log(low)) / ((Math.log(high) - Math.log(low)) || 1);
    $("curve").setAttribute("d", losses.map((n, i) => `${i ? "L" : "M"}${(8 + 404 * i / Math.max(last, 1)).toFixed(1)} ${y(n).toFixed(1)}`).join(""));
    $("high").textContent = say(high, 3); $("low").textContent = last ? say(low, 3) : "";
    $("rate").textContent = say(learnt.rate, 3);
  }
  function controls() {
    const pools = state.mode !== "convolution";
    document.querySelectorAll("[data-mode]").forEach(button => button.setAttribute("aria-pressed", button.dataset.mode === state.mode));
    const show = { rows: state.image[0].length, columns: state.image[0][0].length, size: pools ? state.size : state.kernel[0][0].length, stride: state.stride, padding: ask().padding[0], dilation: ask().dilation[0], channels: state.image.length, maps: state.kernel.length, groups: state.groups };
    for (const [name, value] of Object.entries(show)) $(name).textContent = value;
    for (const name of ["maps", "groups"]) $(name).closest(".stepper").classList.toggle("off", pools || (name === "groups" && state.image.length === 1));
    $("dilation").closest(".stepper").classList.toggle("off", state.mode === "average");
    $("picture").value = state.picture; $("named").value = state.named; $("named").disabled = pools;
    $("goal").value = state.goal;
    $("does").textContent = pools ? (state.mode === "max" ? "keeps the largest pixel under the window; padding never wins" : "the mean of the pixels under the window; padding counts as 0") : given.does[state.named] ?? "";
  }
  function remember() { const { at, ...rest } = state; try { history.replaceState(null, "", "#" + encodeURIComponent(JSON.stringify({ ...rest, at }))); } catch { /* some viewers keep no addresses */ } }
  function pause() { clearInterval(timer); timer = null; $("play").textContent = "Play"; $("play").setAttribute("aria-pressed", "false"); }
  function move(to) { state.at = clamp(to, 0, Math.max(cells.output.length - 1, 0)); peek = null; paint(); }
  function play() {
    if (timer) return pause();
    if (state.at >= cells.output.length - 1) state.at = -1;
    $("play").textContent = "Pause"; $("play").setAttribute("aria-pressed", "true");
    const tick = () => { if (state.at >= cells.output.length - 1) pause(); else move(state.at + 1); };
    tick();
    timer = setInterval(tick, +$("speed").value);
  }

  const limits = { rows: [1, 12], columns: [1, 12], size: [1, 7], stride: [1, 4], padding: [0, 3], dilation: [1, 3], channels: [1, 4], maps: [1, 4], groups: [1, 4] };
  const change = {
    rows: n => { state.image = state.image.map(g => resized(g, n, g[0].length)); state.picture = "own"; },
    columns: n => { state.image = state.image.map(g => resized(g, g.length, n)); state.picture = "own"; },
    size: sized, stride: n => { state.stride = n; }, padding: n => { state.padding = n; }, dilation: n => { state.dilation = n; },
    channels, groups: grouped, maps: n => { maps(n); if (state.named !== "own") state.named = n > 1 ? "own" : state.named; },
  };
  document.querySelectorAll(".stepper button").forEach(button => button.addEventListener("click", () => {
    const name = button.parentElement.querySelector("output").id, [low, high] = limits[name], now = +$(name).textContent;
    const by = +button.value * (name === "maps" ? state.groups : 1); /* every group makes as many maps */
    let wanted = now + by;
    if (name === "groups") while (wanted > 0 && wanted <= state.image.length && state.image.length % wanted) wanted += by;
    const ends = [name === "maps" ? state.groups : low, name === "groups" ? state.image.length : high];
    const next = by < 0 ? (wanted < ends[0] ? now : wanted) : wanted > ends[1] ? now : wanted;
    if (next !== now) { pause(); change[name](next); learnt = null; if (state.named === "learnable") random(); build(); }
  }));
  document.querySelectorAll("[data-mode]").forEach(button => button.addEventListener("click", () => { pause(); state.mode = button.dataset.mode; if (state.mode === "convolution") state.size = state.kernel[0][0].length; else { state.size = Math.max(state.size, 2); } build(); }));
  $("picture").addEventListener("change", event => { const pick = given.images[event.target.value]; if (pick) { state.image = copy(pick); state.picture = event.target.value; channels(pick.length); learnt = null; build(); } });
  $("named").addEventListener("change", event => {
    const name = event.target.value; learnt = null;
    if (name === "learnable") { state.named = name; state.size = given.kernels[state.goal]?.[state.size] ? state.size : 3; random(); }
    else if (given.kernels[name]) preset(name);
    else state.named = "own";
    build();
  });
  $("goal").addEventListener("change", event => { state.goal = event.target.value; learnt = null; random(); build(); });
  $("descend").addEventListener("click", () => descend(1));
  $("descend10").addEventListener("click", () => descend(10));
  $("descend100").addEventListener("click", () => descend(100));
  $("anew").addEventListener("click", () => { learnt = null; random(); build(); });
  $("first").addEventListener("click", () => { pause(); move(0); });
  $("back").addEventListener("click", () => { pause(); move(state.at - 1); });
  $("play").addEventListener("click", play);
  $("on").addEventListener("click", () => { pause(); move(state.at + 1); });
  $("last").addEventListener("click", () => { pause(); move(cells.output.length - 1); });
  $("slider").addEventListener("input", event => { pause(); move(+event.target.value); });
  $("speed").addEventListener("change", () => { if (timer) { pause(); play(); } });
  document.addEventListener("keydown", event => {
    if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowRight") { pause(); move(state.at + 1); } else if (event.key === "ArrowLeft") { pause(); move(state.at - 1); }
    else if (event.key === " " && !event.target.closest("button")) play(); else return;
    event.preventDefault();
  });
  addEventListener("resize", () => build());
  build();
})();
