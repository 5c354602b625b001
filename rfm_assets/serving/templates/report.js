"use strict";
(function () {
  var LIGHT = { ink: "#1c2126", paper: "#ffffff", line: "#dfe3e8" };
  var DARK = { ink: "#e8ebee", paper: "#14181d", line: "#323a43" };
  var PRINT = { ink: "#000000", paper: "#ffffff", line: "#cccccc" };
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var plots = Array.prototype.slice.call(document.querySelectorAll(".plot"));
  var printing = false;
  var opened = [];

  function channels(hex) {
    return [1, 3, 5].map(function (at) { return parseInt(hex.slice(at, at + 2), 16); });
  }

  // A colour that lets the paper through, as what it looks like on this paper: plotly.js chooses
  // the colour of a cell's text by the colour of the cell.
  function onPaper(color, paper) {
    var found = /^rgba\(\s*(\d+),\s*(\d+),\s*(\d+),\s*([\d.]+)\s*\)$/.exec(color);
    if (!found) { return color; }
    var below = channels(paper), share = parseFloat(found[4]);
    return "rgb(" + below.map(function (channel, i) {
      return Math.round(parseFloat(found[i + 1]) * share + channel * (1 - share));
    }).join(",") + ")";
  }

  function light(color) {
    return channels(color).map(function (channel) {
      var share = channel / 255;
      return share <= 0.04045 ? share / 12.92 : Math.pow((share + 0.055) / 1.055, 2.4);
    }).reduce(function (sum, share, i) { return sum + share * [0.2126, 0.7152, 0.0722][i]; }, 0);
  }

  // A dark colour on dark paper, as light as it takes to be told from the paper.
  function visible(color, look) {
    if (Array.isArray(color)) { return color.map(function (one) { return visible(one, look); }); }
    if (look !== DARK || !/^#[0-9a-f]{6}$/i.test(color)) { return color; }
    while ((light(color) + 0.05) / (light(look.paper) + 0.05) < 2) {
      color = "#" + channels(color).map(function (channel) {
        return Math.min(255, Math.round(channel + (255 - channel) * 0.08)).toString(16).padStart(2, "0");
      }).join("");
    }
    return color;
  }

  function axes(layout) {
    return Object.keys(layout).filter(function (key) { return /^[xy]axis\d*$/.test(key); });
  }

  // Figures come without colours of text and paper.
  function themed(spec, look, narrow) {
    var layout = spec.layout;
    layout.font = Object.assign({}, layout.font, { color: look.ink });
    layout.hoverlabel = Object.assign({}, layout.hoverlabel, { bgcolor: look.paper, bordercolor: look.ink });
    layout.hoverlabel.font = Object.assign({}, layout.hoverlabel.font, { color: look.ink });
    layout.autosize = true;
    if (narrow) { layout.font.size = 11; }
    axes(layout).forEach(function (key) {
      layout[key].gridcolor = look.line;
      layout[key].linecolor = look.line;
      layout[key].fixedrange = spec.fixed;
    });
    spec.data.forEach(function (trace) {
      if (Array.isArray(trace.colorscale)) {
        trace.colorscale = trace.colorscale.map(function (stop) { return [stop[0], onPaper(stop[1], look.paper)]; });
      }
      if (/^(bar|box|scatter)$/.test(trace.type)) {
        if (trace.marker && trace.marker.color) { trace.marker.color = visible(trace.marker.color, look); }
        if (trace.line && trace.line.color) { trace.line.color = visible(trace.line.color, look); }
      }
      if (trace.type === "heatmap" && trace.colorbar) { trace.colorbar.outlinewidth = 0; }
      if (trace.type === "sankey") {
        trace.textfont = { color: look.ink, shadow: "none" };
        trace.link.color = trace.link.color.map(function (color) { return onPaper(color, look.paper); });
      }
    });
    return spec;
  }

  // Drawn at one size and shown at another, as on paper, a picture keeps its proportions.
  function scalable(plot) {
    var size = plot._fullLayout;
    plot.style.setProperty("--drawn", size.width + " / " + size.height);
    Array.prototype.forEach.call(plot.querySelectorAll(".main-svg"), function (svg) {
      svg.setAttribute("viewBox", "0 0 " + size.width + " " + size.height);
    });
  }

  function draw(plot) {
    var spec = JSON.parse(document.getElementById(plot.id + "-figure").textContent);
    var first = !plot.classList.contains("js-plotly-plot");
    if (spec.data.some(function (trace) { return trace.type === "sankey" || (trace.type === "heatmap" && trace.texttemplate); })) {
      plot.classList.add("broad");
    }
    var look = printing ? PRINT : dark.matches ? DARK : LIGHT;
    themed(spec, look, !printing && plot.clientWidth < 480);
    var drawn = window.Plotly.react(plot, spec.data, spec.layout, { displayModeBar: false, responsive: true, displaylogo: false, showTips: false });
    if (first) { plot.on("plotly_afterplot", function () { scalable(plot); }); }
    scalable(plot);
    return drawn;
  }

  function drawAll() { plots.forEach(draw); }

  // Without scripts every table is open.
  Array.prototype.forEach.call(document.querySelectorAll("details"), function (one) { one.open = false; });
  Array.prototype.forEach.call(document.querySelectorAll(".scroll.plotted"), function (one) {
    // What can be scrolled can be reached with the keyboard.
    new ResizeObserver(function () {
      if (one.scrollWidth > one.clientWidth) { one.tabIndex = 0; } else { one.removeAttribute("tabindex"); }
    }).observe(one);
  });

  // One after the other, so that the page can be read meanwhile.
  var next = 0;
  function go() {
    if (next < plots.length) {
      draw(plots[next]);
      next += 1;
      window.setTimeout(go, 0);
    } else {
      document.documentElement.setAttribute("data-drawn", String(plots.length));
    }
  }
  go();

  dark.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", function () {
    printing = true;
    next = plots.length;
    drawAll();
    opened = Array.prototype.filter.call(document.querySelectorAll("details"), function (one) { return !one.open; });
    opened.forEach(function (one) { one.open = true; });
  });
  window.addEventListener("afterprint", function () {
    printing = false;
    opened.forEach(function (one) { one.open = false; });
    drawAll();
  });
})();
