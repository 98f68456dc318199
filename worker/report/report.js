// Zoom and pan of the map. Without this script the page shows the same, at world scale.
(function () {
  "use strict";
  var svg = document.querySelector("svg[data-world]");
  if (!svg) return;
  var figure = svg.parentNode, marks = svg.querySelectorAll("[data-mark]");
  var whole = svg.viewBox.baseVal, W = whole.width, H = whole.height, MAX = 64;
  var view = { x: 0, y: 0, k: 1 };

  function show() {
    view.k = Math.min(MAX, Math.max(1, view.k));
    view.x = Math.min(W - W / view.k, Math.max(0, view.x));
    view.y = Math.min(H - H / view.k, Math.max(0, view.y));
    svg.setAttribute("viewBox", [view.x, view.y, W / view.k, H / view.k].join(" "));
    // Marks keep their size on the screen when zoomed in, and do not shrink with a narrow screen.
    var size = Math.max(1, 680 / svg.getBoundingClientRect().width) / view.k;
    marks.forEach(function (mark) { mark.setAttribute("transform", "scale(" + size + ")"); });
    figure.classList.toggle("zoomed", view.k > 1);
  }
  // The map point under the pointer stays where it is.
  function zoom(factor, atX, atY) {
    var k = Math.min(MAX, Math.max(1, view.k * factor));
    view.x += (W / view.k - W / k) * atX;
    view.y += (H / view.k - H / k) * atY;
    view.k = k;
    show();
  }
  function fit() {
    var box = null;
    svg.querySelectorAll(".marks use").forEach(function (use) {
      var at = use.transform.baseVal.getItem(0).matrix;
      box = box || [at.e, at.f, at.e, at.f];
      box = [Math.min(box[0], at.e), Math.min(box[1], at.f), Math.max(box[2], at.e), Math.max(box[3], at.f)];
    });
    if (!box) return;
    var w = Math.max(box[2] - box[0], 12) * 1.25, h = Math.max(box[3] - box[1], 6) * 1.25;
    view.k = Math.min(W / w, H / h);
    view.x = (box[0] + box[2] - W / view.k) / 2;
    view.y = (box[1] + box[3] - H / view.k) / 2;
    show();
  }
  var bar = document.createElement("div");
  bar.className = "zoom";
  [["+", "Zoom in", function () { zoom(1.8, .5, .5); }], ["−", "Zoom out", function () { zoom(1 / 1.8, .5, .5); }],
   ["Fit", "Zoom to the photographs", fit], ["World", "Show the whole world", function () { view = { x: 0, y: 0, k: 1 }; show(); }]
  ].forEach(function (spec) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = spec[0];
    button.setAttribute("aria-label", spec[1]);
    button.addEventListener("click", spec[2]);
    bar.appendChild(button);
  });
  figure.insertBefore(bar, svg);
  window.addEventListener("resize", show);
  show();

  // A plain wheel scrolls the page; with Ctrl or Cmd (and a pinch on a trackpad) it zooms.
  svg.addEventListener("wheel", function (event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    var rect = svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 250), (event.clientX - rect.left) / rect.width, (event.clientY - rect.top) / rect.height);
  }, { passive: false });

  var held = null;
  svg.addEventListener("pointerdown", function (event) {
    if (view.k > 1 && event.isPrimary) held = { x: event.clientX, y: event.clientY, moved: 0 };
  });
  window.addEventListener("pointermove", function (event) {
    if (!held || !event.isPrimary) return;
    var rect = svg.getBoundingClientRect(), dx = event.clientX - held.x, dy = event.clientY - held.y;
    held.moved += Math.abs(dx) + Math.abs(dy);
    view.x -= dx / rect.width * W / view.k;
    view.y -= dy / rect.height * H / view.k;
    held.x = event.clientX;
    held.y = event.clientY;
    figure.classList.add("held");
    show();
  });
  var dragged = false;
  window.addEventListener("pointerup", function () {
    dragged = !!held && held.moved > 6;
    held = null;
    figure.classList.remove("held");
  });
  svg.addEventListener("dragstart", function (event) { event.preventDefault(); });
  // The end of a drag over a mark is no click on it.
  svg.addEventListener("click", function (event) { if (dragged) event.preventDefault(); }, true);
})();
