document.title += " (fresh)";
