// Search from the file system: browsers start no worker from file://, so an invisible frame takes its place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.appendChild(this.frame)
      const inner = this.frame.contentWindow
      this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve, { once: true }))
      inner.document.open()
      inner.document.write("<!doctype html><html><body></body></html>")
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      inner.importScripts = (...urls) =>
        urls.reduce((before, next) => before.then(() => load(inner, next)), Promise.resolve())
      this.ready = this.ready.then(() => load(inner, url))
      inner.document.close()
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
}

function load(inner, url) {
  return new Promise((resolve, reject) => {
    const script = inner.document.createElement("script")
    script.src = url
    script.onload = resolve
    script.onerror = reject
    inner.document.body.appendChild(script)
  })
}
