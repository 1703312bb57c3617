// What is shown once leaves the page before its reader does: a browser may keep the page in memory, for the way back.
(() => {
  "use strict";
  addEventListener("pagehide", () => {
    for (const shown of document.querySelectorAll("[data-once]")) {
      if (shown.matches("input")) {
        shown.value = "";
        shown.setAttribute("value", "");
      } else {
        shown.textContent = "";
      }
    }
  });
})();
