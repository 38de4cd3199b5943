// Shows the clicked point, or else the one under the pointer: its image, what is known of it, its nearest images.
const place = points.selected.indices[0] ?? cb_data?.index?.indices[0]
if (place === undefined) return

const point = Object.fromEntries(Object.entries(points.data).map(([name, values]) => [name, values[place]]))
const escape = text => String(text).replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`)
const columns = Number(panel.tags[0])
const xray = (image, side) =>
  `<div class="xray" style="--side:${side}px;--column:${image % columns};--row:${Math.floor(image / columns)}"></div>`

const label = images.data.label[point.image]
const verdict = other => (other === label ? "right" : "wrong")
const neighbours = Array.from(point.neighbours, (image, rank) => {
  const found = images.data.label[image]
  return `<div class="${verdict(found)}">${xray(image, 86)}
    <span>${escape(images.data.name[image])}<br>${escape(found)}<br>${point.closeness[rank]}</span></div>`
})
const alike = Array.from(point.neighbours).filter(image => images.data.label[image] === label)
panel.text = `
  <h2>${escape(images.data.name[point.image])}</h2>
  ${xray(point.image, 252)}
  <dl>
    <dt>label</dt><dd>${escape(label)}</dd>
    <dt>classifier</dt>
    <dd class="${verdict(point.predicted)}">${escape(point.predicted)}, probability ${point.confidence.toFixed(3)}</dd>
    <dt>precision@${neighbours.length}</dt><dd>${(alike.length / neighbours.length).toFixed(2)}</dd>
  </dl>
  <h3>Nearest images (dotted, where they are on the map)</h3>
  <div class="neighbours">${neighbours.join("")}</div>
  <p class="hint">Click a point to keep it, beside the points to let go.</p>`
chosen.indices = [place]
near.indices = Array.from(points.data.image.keys()).filter(other => point.neighbours.includes(points.data.image[other]))
