package page_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/bench/internal/page"
	"github.com/holdfast-go/holdfast/bench/internal/results"
	"github.com/holdfast-go/holdfast/bench/internal/table"
)

func sample() *results.Results {
	r := &results.Results{}
	one := &results.Table{Number: 1, Rounds: 3, Date: "2026-01-02", Machine: []string{"2 cores"}}
	for i, ours := range []float64{30, 20, 40} {
		one.Add(i, "1 goroutine", table.Ours, map[string]float64{"p50": ours, "sent": 2})
		one.Add(i, "1 goroutine", "bsm-1ms", map[string]float64{"p50": 20, "sent": 2})
	}
	one.Skip("", "redisson", "not run")
	r.Replace(one)
	hot := &results.Table{Number: 3, Rounds: 1, Machine: []string{"2 cores"}}
	for _, n := range table.Contenders {
		hot.Add(0, table.HotCase(n, 0), table.Ours, map[string]float64{"rate": 20_000, "calls": 11, "max": 9000})
	}
	r.Replace(hot)
	return r
}

func TestMarkdown(t *testing.T) {
	text := page.Markdown(sample(), "In our words.\n")
	for _, want := range []string{
		"| its p50 against bsm/redislock | ≤ 1.1 × | 1.5 (1–2) | no |",
		"| **Holdfast** | 30 (20–40) | – | 1 | 2 | – | – |",
		"| bsm/redislock, 1 ms | 20 (20–20) | – | 1.5 (1–2) | 2 | – | – |",
		"In our words.",
		"3 rounds, on 2026-01-02",
		"- Redisson RLock: not run",
		"| **Holdfast** | 20,000 | 1 | – | – | 9 |", // 9,000 µs are 9 ms
		"- 2 cores",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "NaN") || strings.Count(text, "- 2 cores") != 1 {
		t.Errorf("the page has a NaN, or the machine twice:\n%s", text)
	}
}

func TestChart(t *testing.T) {
	for name, r := range map[string]*results.Results{"sample": sample(), "nothing": {}} {
		text := page.Chart(r)
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%s: a place that is no number", name)
		}
		if !strings.Contains(text, "prefers-color-scheme:dark") {
			t.Errorf("%s: no dark colours", name)
		}
	}
}
