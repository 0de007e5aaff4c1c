package results_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/bench/internal/results"
)

func TestRounds(t *testing.T) {
	r := &results.Results{}
	tab := &results.Table{Number: 2, Rounds: 3, Machine: []string{"2 cores"}}
	tab.Add(0, "a", "x", map[string]float64{"rate": 1})
	tab.Add(2, "a", "x", map[string]float64{"rate": 3.5}) // the round between failed
	tab.Add(0, "a", "y", map[string]float64{"rate": math.Inf(1)})
	tab.Skip("a", "z", "why")
	tab.Skip("a", "z", "why")
	r.Replace(tab)
	r.Replace(&results.Table{Number: 1})

	path := filepath.Join(t.TempDir(), "results.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := results.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Tables) != 2 || back.Tables[0].Number != 1 {
		t.Fatalf("%d tables, first %d", len(back.Tables), back.Tables[0].Number)
	}
	got := back.Table(2)
	if rate := got.Get("a", "x", "rate"); len(rate) != 3 || rate[0] != 1 || !math.IsNaN(rate[1]) || rate[2] != 3.5 {
		t.Errorf("rounds %v", rate)
	}
	if m := got.Median("a", "x", "rate"); m != 2.25 {
		t.Errorf("median %v", m)
	}
	if m := got.Median("a", "y", "rate"); !math.IsNaN(m) {
		t.Errorf("median of no number %v", m)
	}
	if !got.Has("a", "x") || got.Has("b", "x") || got.Get("a", "x", "none") != nil {
		t.Error("Has or Get finds what is not there")
	}
	if len(got.Skipped) != 1 || !slices.Equal(got.Machine, tab.Machine) {
		t.Errorf("%v, %v", got.Skipped, got.Machine)
	}
}

func TestReplace(t *testing.T) {
	r := &results.Results{}
	for _, date := range []string{"old", "new"} {
		r.Replace(&results.Table{Number: 3, Date: date})
	}
	if len(r.Tables) != 1 || r.Table(3).Date != "new" {
		t.Errorf("%d tables, of %s", len(r.Tables), r.Table(3).Date)
	}
}

func TestLoadNothing(t *testing.T) {
	r, err := results.Load(filepath.Join(t.TempDir(), "none.json"))
	if err != nil || len(r.Tables) != 0 {
		t.Errorf("%v, %v", r, err)
	}
}
