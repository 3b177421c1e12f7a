"""The browser: a page and an ES module on LiteRT.js."""
