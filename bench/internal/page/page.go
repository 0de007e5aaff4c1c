// Package page writes what was measured as a page of Markdown and a chart.
package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/bench/internal/library"
	"github.com/holdfast-go/holdfast/bench/internal/results"
	"github.com/holdfast-go/holdfast/bench/internal/stat"
	"github.com/holdfast-go/holdfast/bench/internal/table"
)

const head = `# Results

Written by ` + "`make bench`" + `, which runs everything below anew; do not edit. What is said in words
comes from [notes.md](notes.md), the numbers of each round are in
[results.json](results.json).

![Hand-overs a second, Redis calls a hand-over and CPU of renewals](chart.svg)

Numbers are medians of the rounds; in brackets stand the lowest and the highest round. The
libraries run in turn within each round, each client as a process of its own (Redisson's in
one JVM) with its own connections, against one redis-server on the same machine: **ratios
count, not numbers**. A ratio is taken round by round. A dash means that nothing was measured.

"Commands sent" are those that clients send; "Redis calls" are those and what scripts call
inside, as the server counts them.
`

// Markdown writes the page.
func Markdown(r *results.Results, notes string) string {
	var b strings.Builder
	b.WriteString(head)
	section(&b, "Numbers to reach")
	reaches(&b, table.Reaches(r))
	b.WriteString("\n" + strings.TrimSpace(notes) + "\n")
	for _, s := range table.All() {
		if t := r.Table(s.Number); len(t.Series)+len(t.Skipped) > 0 {
			section(&b, fmt.Sprintf("%d. %s", s.Number, s.Title))
			one(&b, s, t)
		}
	}
	section(&b, "How the libraries were set up")
	setUp(&b)
	section(&b, "The machine")
	machines(&b, r)
	return b.String()
}

func section(b *strings.Builder, title string) { fmt.Fprintf(b, "\n## %s\n\n", title) }

func reaches(b *strings.Builder, all []table.Reach) {
	row(b, "what", "reach", "measured", "met")
	row(b, "---", "---", "---", "---")
	for _, r := range all {
		known := stat.Known(r.Got)
		if len(known) == 0 {
			row(b, r.What, r.Goal, "–", "not measured")
			continue
		}
		word := r.Word
		if word == "" {
			word = spread(known)
		}
		row(b, r.What, r.Goal, word, r.Verdict(stat.Median(known)))
	}
}

// one writes a table for each case.
func one(b *strings.Builder, s table.Spec, t *results.Table) {
	fmt.Fprintf(b, "%s %s, on %s.\n", s.About, rounds(t.Rounds), t.Date)
	for _, c := range s.Cases {
		ran := slices.DeleteFunc(slices.Clone(c.Libraries), func(name string) bool { return !t.Has(c.Name, name) })
		if len(ran) == 0 {
			continue
		}
		b.WriteString("\n")
		heads, rules := []string{"**" + c.Name + "**"}, []string{"---"}
		for _, column := range s.Columns {
			heads, rules = append(heads, column.Head), append(rules, "--:")
		}
		row(b, heads...)
		row(b, rules...)
		for _, name := range ran {
			cells := []string{title(name)}
			for _, column := range s.Columns {
				cells = append(cells, cell(t, c.Name, name, column))
			}
			row(b, cells...)
		}
	}
	skipped(b, t)
}

func rounds(n int) string {
	if n == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds", n)
}

func cell(t *results.Table, kase, name string, c table.Column) string {
	values := t.Get(kase, name, c.Metric)
	if c.Ratio {
		if name == table.Ours {
			return "1"
		}
		values = stat.Ratios(t.Get(kase, table.Ours, c.Metric), values)
	}
	known := stat.Known(values)
	if c.Milli {
		for i := range known {
			known[i] /= 1000
		}
	}
	switch {
	case len(known) == 0:
		return "–"
	case c.Spread:
		return spread(known)
	default:
		return number(stat.Median(known))
	}
}

func skipped(b *strings.Builder, t *results.Table) {
	if len(t.Skipped) == 0 {
		return
	}
	b.WriteString("\nWhat went wrong:\n\n")
	for _, s := range t.Skipped {
		where := title(s.Library)
		if s.Case != "" {
			where += ", " + s.Case
		}
		fmt.Fprintf(b, "- %s: %s\n", where, strings.ReplaceAll(s.Why, "\n", " "))
	}
}

func setUp(b *strings.Builder) {
	fmt.Fprintf(b, "All have a TTL of %v and at most %d connections a client, but for rueidislock, which "+
		"sends everything on one; the clients of go-redis have ContextTimeoutEnabled. Those that renew do it every %v.\n\n", library.TTL, library.PoolSize, library.Renewal)
	for _, l := range library.All() {
		fmt.Fprintf(b, "- %s: %s.\n", l.Title, l.How)
	}
}

// machines writes what the tables ran on, once if it was the same for all.
func machines(b *strings.Builder, r *results.Results) {
	var before []string
	for i, t := range r.Tables {
		if i > 0 && slices.Equal(t.Machine, before) {
			continue
		}
		if i > 0 {
			fmt.Fprintf(b, "\nFrom table %d on:\n\n", t.Number)
		}
		for _, line := range t.Machine {
			fmt.Fprintf(b, "- %s\n", line)
		}
		before = t.Machine
	}
}

func title(name string) string {
	l, err := library.ByName(name)
	if err != nil {
		return name
	}
	if name == table.Ours {
		return "**" + l.Title + "**"
	}
	return l.Title
}

func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}
