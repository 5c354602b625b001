// What grids and the header need in the browser; everything else is computed by the server.
var dagfuncs = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
var dagcomponents = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});

dagfuncs.shownNumber = function (value, decimals) {
  if (value === null || value === undefined) return "–";
  return Number(value).toLocaleString("en-US", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
};

dagcomponents.CustomerLink = function (props) {
  if (props.value === null || props.value === undefined) return null;
  return window.React.createElement(
    "a",
    {
      href: props.link + encodeURIComponent(props.value),
      onClick: function (event) {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        // The same as a link of the page: the address changes, the page is not loaded anew.
        event.preventDefault();
        window.history.pushState({}, "", event.currentTarget.href);
        window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
      },
    },
    props.value
  );
};

// Where a chart lies wider than it was drawn, such as after turning a phone.
window.addEventListener("orientationchange", function () {
  window.dispatchEvent(new Event("resize"));
});

// A cell of a grid has the focus, not the link in it: Enter follows the link.
document.addEventListener("keydown", function (event) {
  if (event.key !== "Enter" || !event.target.classList.contains("ag-cell")) return;
  var link = event.target.querySelector("a[href]");
  if (link) link.click();
});

// A page's charts are drawn one after the other, each in a frame of its own, so that the first is seen
// and the page answers before the last is ready.
(function () {
  var running = false;

  function next() {
    var tabs = document.querySelector(".chart-tabs:not([data-drawn])");
    running = tabs !== null;
    if (!running) return;
    tabs.dataset.drawn = "yes";
    // Whoever was quicker and has chosen the table is to keep it.
    if (!tabs.querySelector("[role=tab][aria-selected=true]")) {
      window.dash_clientside.set_props(JSON.parse(tabs.id), { value: "chart" });
    }
    requestAnimationFrame(function () {
      setTimeout(next);
    });
  }

  new MutationObserver(function () {
    if (!running) next();
  }).observe(document, { childList: true, subtree: true });
})();

// Charts need plotly.js, which Dash would fetch only once the first of them is there to be drawn. Pages
// that begin with rows are not to wait for it.
(function () {
  if (/\/(customers|quality)\/?$/.test(location.pathname)) return;
  var config = JSON.parse(document.getElementById("_dash-config").textContent);
  var script = document.createElement("script");
  script.src = config.requests_pathname_prefix + "_dash-component-suites/plotly/package_data/plotly.min.js";
  document.head.appendChild(script);
})();
