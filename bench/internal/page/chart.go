package page

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/bench/internal/library"
	"github.com/holdfast-go/holdfast/bench/internal/results"
	"github.com/holdfast-go/holdfast/bench/internal/table"
)

// The drawing, in pixels.
const (
	panelWidth, panelHeight = 300, 220
	left, right, top        = 58, 14, 44
	foot                    = 96 // axis, its name and the legend
	chartWidth              = 3 * (left + panelWidth + right)
	chartHeight             = top + panelHeight + foot
)

// colours of the lines, light and dark: far enough apart for most eyes, and each has
// a mark of its own beside.
var colours = map[string]struct{ light, dark, mark string }{
	table.Ours:    {"#c2410c", "#fb923c", "circle"},
	"rueidislock": {"#1d4ed8", "#7aa2ff", "square"},
	"redisson":    {"#0f766e", "#2dd4bf", "triangle"},
	"redsync":     {"#7e22ce", "#d8a4ff", "diamond"},
	"bsm-1ms":     {"#4d7c0f", "#a3e635", "square"},
	"bsm-renewed": {"#4d7c0f", "#a3e635", "square"},
	"publish":     {"#57606a", "#9aa4b0", "none"},
}

// order of the lines in the legend.
var order = []string{table.Ours, "rueidislock", "redisson", "redsync", "bsm-1ms", "bsm-renewed", "publish"}

// panel is one plot.
type panel struct {
	title, across string
	lines         map[string][]table.Point
	logY          bool
	at            float64 // where it begins, from the left
}

// Chart draws how cost grows with contenders and with leases. It is plain SVG with a
// ground of its own, and follows the reader's choice of light or dark.
func Chart(r *results.Results) string {
	handOvers, commands, renewals := table.Lines(r)
	panels := []panel{
		{title: "Hand-overs/s, one hot key", across: "contenders", lines: handOvers},
		{title: "Redis calls a hand-over", across: "contenders", lines: commands, logY: true},
		{title: "Client CPU of renewals, % of a core", across: "leases held", lines: renewals, logY: true},
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" `+
		`aria-label="How cost grows with contenders and with leases" font-family="sans-serif" font-size="12">`+"\n",
		chartWidth, chartHeight)
	style(&b)
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d" rx="6"/>`+"\n", chartWidth, chartHeight)
	for i, p := range panels {
		p.at = float64(i*(left+panelWidth+right) + left)
		p.draw(&b)
	}
	legend(&b)
	b.WriteString("</svg>\n")
	return b.String()
}

func style(b *strings.Builder) {
	b.WriteString("<style>\n.ground{fill:#fff}.text{fill:#24292f}.grid{stroke:#d0d7de}\n")
	for _, name := range order {
		fmt.Fprintf(b, ".%s{stroke:%[2]s;fill:%[2]s}\n", name, colours[name].light)
	}
	b.WriteString("@media (prefers-color-scheme:dark){\n.ground{fill:#0d1117}.text{fill:#e6edf3}.grid{stroke:#30363d}\n")
	for _, name := range order {
		fmt.Fprintf(b, ".%s{stroke:%[2]s;fill:%[2]s}\n", name, colours[name].dark)
	}
	b.WriteString("}\n.line{fill:none;stroke-width:2}.publish.line{stroke-dasharray:5 4}\n</style>\n")
}

// draw writes the axes and the lines of a panel.
func (p panel) draw(b *strings.Builder) {
	text(b, p.at, top-20, "start", p.title, "font-weight=\"bold\"")
	xs, ys := p.values()
	if len(xs) == 0 {
		text(b, p.at, top+panelHeight/2, "start", "not measured", "")
		return
	}
	x := newScale(slices.Min(xs), slices.Max(xs), true, p.at, p.at+panelWidth)
	low := 0.0
	if p.logY {
		low = slices.Min(ys)
	}
	y := newScale(low, slices.Max(ys), p.logY, top+panelHeight, top)
	for _, tick := range y.ticks() {
		at := y.place(tick)
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`+"\n", p.at, p.at+panelWidth, at, at)
		text(b, p.at-6, at+4, "end", brief(tick), "")
	}
	for _, tick := range distinct(xs) {
		text(b, x.place(tick), top+panelHeight+18, "middle", number(tick), "")
	}
	text(b, p.at+panelWidth/2, top+panelHeight+36, "middle", p.across, "")
	for _, name := range order {
		line(b, name, p.lines[name], x, y)
	}
}

// values are those of all lines that can be drawn.
func (p panel) values() (xs, ys []float64) {
	for name, points := range p.lines {
		p.lines[name] = slices.DeleteFunc(points, func(q table.Point) bool {
			return math.IsNaN(q.Y) || p.logY && q.Y <= 0
		})
		for _, q := range p.lines[name] {
			xs, ys = append(xs, q.X), append(ys, q.Y)
		}
	}
	return xs, ys
}

func line(b *strings.Builder, name string, points []table.Point, x, y scale) {
	if len(points) == 0 {
		return
	}
	at := make([]string, len(points))
	for i, q := range points {
		at[i] = fmt.Sprintf("%.1f,%.1f", x.place(q.X), y.place(q.Y))
	}
	fmt.Fprintf(b, `<polyline class="line %s" points="%s"/>`+"\n", name, strings.Join(at, " "))
	for _, q := range points {
		mark(b, name, x.place(q.X), y.place(q.Y))
	}
}

func mark(b *strings.Builder, name string, x, y float64) {
	switch colours[name].mark {
	case "circle":
		fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="4"/>`+"\n", name, x, y)
	case "square":
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%.1f" width="6" height="6"/>`+"\n", name, x-3, y-3)
	case "triangle":
		fmt.Fprintf(b, `<path class="%s" d="M%.1f %.1fl4 7h-8z"/>`+"\n", name, x, y-4)
	case "diamond":
		fmt.Fprintf(b, `<path class="%s" d="M%.1f %.1fl4 4-4 4-4-4z"/>`+"\n", name, x, y-4)
	}
}

func legend(b *strings.Builder) {
	x, y := float64(left), float64(chartHeight-18)
	for _, name := range order {
		l, err := library.ByName(name)
		if err != nil || name == "bsm-renewed" {
			continue // drawn as bsm/redislock
		}
		fmt.Fprintf(b, `<polyline class="line %s" points="%.1f,%.1f %.1f,%.1f"/>`+"\n", name, x, y-4, x+24, y-4)
		mark(b, name, x+12, y-4)
		text(b, x+30, y, "start", l.Title, "")
		x += 52 + 7*float64(len([]rune(l.Title)))
	}
}

func text(b *strings.Builder, x, y float64, anchor, words, more string) {
	fmt.Fprintf(b, `<text class="text" x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, more, words)
}

func distinct(values []float64) []float64 {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}
