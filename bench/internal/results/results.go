// Package results keeps what was measured, round by round, in a file, so that the
// page can be written anew without running anything, and single tables be run again.
package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/holdfast-go/holdfast/bench/internal/stat"
)

// Results are those of all tables.
type Results struct {
	Tables []*Table
}

// Table is what was measured for one table of the page.
type Table struct {
	Number  int
	Date    string // of the run
	Rounds  int
	Machine []string // what it ran on, a line each
	Series  []*Series
	Skipped []Skip
}

// Series is one quantity, round by round. NaN: the round did not work.
type Series struct {
	Case, Library, Metric string
	Values                []Value
}

// Skip says why there is nothing, or less than there should be.
type Skip struct {
	Case, Library, Why string
}

// Value is a number that JSON can hold also if it is none.
type Value float64

// MarshalJSON writes six digits, which is more than is known, and null for no number.
func (v Value) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(v), 'g', 6, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Value) UnmarshalJSON(text []byte) error {
	if bytes.Equal(text, []byte("null")) {
		*v = Value(math.NaN())
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	*v = Value(f)
	return err
}

// Load reads a file; one that is not there is empty.
func Load(path string) (*Results, error) {
	r := &Results{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return r, json.Unmarshal(text, r)
}

// Save writes the file, a series a line, so that two runs can be compared.
func (r *Results) Save(path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	for _, mark := range []string{`{"Number"`, `{"Case"`} {
		text = bytes.ReplaceAll(text, []byte(mark), []byte("\n"+mark))
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // it is for everybody to read
}

// Replace puts a table in the place of the one of its number.
func (r *Results) Replace(t *Table) {
	r.Tables = slices.DeleteFunc(r.Tables, func(old *Table) bool { return old.Number == t.Number })
	r.Tables = append(r.Tables, t)
	slices.SortFunc(r.Tables, func(a, b *Table) int { return a.Number - b.Number })
}

// Table finds a table; an empty one if it was not run.
func (r *Results) Table(number int) *Table {
	for _, t := range r.Tables {
		if t.Number == number {
			return t
		}
	}
	return &Table{Number: number}
}

// Add enters what one round found.
func (t *Table) Add(round int, kase, library string, found map[string]float64) {
	for metric, v := range found {
		s := t.find(kase, library, metric)
		if s == nil {
			s = &Series{Case: kase, Library: library, Metric: metric}
			t.Series = append(t.Series, s)
		}
		for len(s.Values) < round { // rounds that failed
			s.Values = append(s.Values, Value(math.NaN()))
		}
		s.Values = append(s.Values, Value(v))
	}
	slices.SortStableFunc(t.Series, func(a, b *Series) int { return bytes.Compare(a.order(), b.order()) })
}

func (s *Series) order() []byte { return []byte(s.Case + "\x00" + s.Library + "\x00" + s.Metric) }

// Skip notes why something is missing, once.
func (t *Table) Skip(kase, library, why string) {
	s := Skip{kase, library, why}
	if !slices.Contains(t.Skipped, s) {
		t.Skipped = append(t.Skipped, s)
	}
}

// Get returns a quantity round by round; nil if there is none.
func (t *Table) Get(kase, library, metric string) []float64 {
	s := t.find(kase, library, metric)
	if s == nil {
		return nil
	}
	values := make([]float64, len(s.Values))
	for i, v := range s.Values {
		values[i] = float64(v)
	}
	return values
}

// Median is that of the rounds that worked; NaN if none did.
func (t *Table) Median(kase, library, metric string) float64 {
	return stat.Median(stat.Known(t.Get(kase, library, metric)))
}

// Has tells whether a library was measured in a case.
func (t *Table) Has(kase, library string) bool {
	return slices.ContainsFunc(t.Series, func(s *Series) bool { return s.Case == kase && s.Library == library })
}

func (t *Table) find(kase, library, metric string) *Series {
	for _, s := range t.Series {
		if s.Case == kase && s.Library == library && s.Metric == metric {
			return s
		}
	}
	return nil
}
