package holdfastotel_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/holdfast-go/holdfast"
	holdfastotel "github.com/holdfast-go/holdfast/otel"
)

// dashboard is what the tests look at in Grafana's model.
type dashboard struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Templating    struct {
		List []struct {
			Name       string     `json:"name"`
			Type       string     `json:"type"`
			Definition string     `json:"definition"`
			Query      query      `json:"query"`
			Datasource datasource `json:"datasource"`
		} `json:"list"`
	} `json:"templating"`
	Panels []struct {
		ID         int        `json:"id"`
		Title      string     `json:"title"`
		Datasource datasource `json:"datasource"`
		GridPos    struct{ H, W, X, Y int }
		Targets    []struct {
			Expr       string     `json:"expr"`
			RefID      string     `json:"refId"`
			Legend     string     `json:"legendFormat"`
			Datasource datasource `json:"datasource"`
		} `json:"targets"`
	} `json:"panels"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// query is the text of a variable's query: of some types an object.
type query string

func (q *query) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		return json.Unmarshal(text, (*string)(q))
	}
	var object struct {
		Query string `json:"query"`
	}
	err := json.Unmarshal(text, &object)
	*q = query(object.Query)
	return err
}

var unwanted = regexp.MustCompile("[^a-zA-Z0-9_]")

// prometheus is what the module emits, under the names that Prometheus gives it,
// each series with its labels.
func prometheus(t *testing.T) map[string]map[string]bool {
	t.Helper()
	r := newRig(t, holdfastotel.WithLockNames())
	lost := &holdfast.LostError{Reason: holdfast.LostTaken}
	for _, e := range []holdfast.Event{
		{Type: holdfast.EventAcquired},
		{Type: holdfast.EventNotAcquired, Err: &holdfast.HeldError{}},
		{Type: holdfast.EventRenewed},
		{Type: holdfast.EventReleased},
		{Type: holdfast.EventLost, Err: lost},
	} {
		r.Observe(t.Context(), e)
	}
	all := map[string]map[string]bool{}
	add := func(name string, set attribute.Set) {
		if all[name] == nil {
			all[name] = map[string]bool{"job": true}
		}
		for _, a := range set.ToSlice() {
			all[name][unwanted.ReplaceAllString(string(a.Key), "_")] = true
		}
	}
	for _, m := range r.collect(t) {
		name := unwanted.ReplaceAllString(m.Name, "_")
		if unit := map[string]string{"s": "_seconds"}[m.Unit]; !strings.HasPrefix(m.Unit, "{") {
			if unit == "" {
				t.Fatalf("unit %q", m.Unit)
			}
			name += unit
		}
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			if data.IsMonotonic {
				name += "_total"
			}
			for _, p := range data.DataPoints {
				add(name, p.Attributes)
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				for _, part := range []string{"_bucket", "_sum", "_count"} {
					add(name+part, p.Attributes)
				}
				all[name+"_bucket"]["le"] = true
			}
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`([a-z_]+)\{([^}]*)\}`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|=)"([^"]*)"`)
	ours     = regexp.MustCompile(`holdfast_[a-z_]+`)
	variable = regexp.MustCompile(`\$\{?([a-z]+)\}?`)
)

// TestDashboard: it asks for what there is. A panel that misspells a metric shows
// nothing, and so looks as if nothing were wrong.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("grafana/holdfast.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 39 {
		t.Errorf("uid %q, title %q, schema version %d", d.UID, d.Title, d.SchemaVersion)
	}
	there := prometheus(t)
	variables := map[string]bool{}
	want := datasource{Type: "prometheus", UID: "${datasource}"}
	for _, v := range d.Templating.List {
		for _, used := range variable.FindAllStringSubmatch(v.Definition, -1) {
			if !variables[used[1]] { // it is chosen before this one
				t.Errorf("variable %s: no variable %s", v.Name, used[1])
			}
		}
		variables[v.Name] = true
		if v.Type == "datasource" {
			continue
		}
		if v.Datasource != want {
			t.Errorf("variable %s: data source %v", v.Name, v.Datasource)
		}
		parts := regexp.MustCompile(`^label_values\((\w+)(?:\{.*\})?, (\w+)\)$`).FindStringSubmatch(v.Definition)
		if parts == nil || !there[parts[1]][parts[2]] || string(v.Query) != v.Definition {
			t.Errorf("variable %s: %s", v.Name, v.Definition)
		}
	}
	if !variables["datasource"] {
		t.Error("the data source is no variable")
	}
	shown, ids := map[string]bool{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: id %d again", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Datasource != want || p.GridPos.X+p.GridPos.W > 24 || len(p.Targets) == 0 {
			t.Errorf("%s: data source %v, at %+v, %d targets", p.Title, p.Datasource, p.GridPos, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.Datasource != want {
				t.Errorf("%s: target %s of %v", p.Title, target.RefID, target.Datasource)
			}
			refs[target.RefID] = true
			for _, name := range checkExpr(t, p.Title, target.Expr, target.Legend, there, variables) {
				shown[strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")] = true
			}
		}
	}
	for name := range there {
		base := name
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if strings.HasSuffix(name, "_seconds"+part) {
				base = strings.TrimSuffix(name, part)
			}
		}
		if base = strings.TrimSuffix(base, "_count"); !shown[base] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// checkExpr checks an expression, and returns the series that it is about.
func checkExpr(t *testing.T, title, expr, legend string, there map[string]map[string]bool, variables map[string]bool) []string {
	t.Helper()
	var names []string
	labels := map[string]bool{}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		names = append(names, s[1])
		if there[s[1]] == nil {
			t.Errorf("%s: there is no %s", title, s[1])
			continue
		}
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if !there[s[1]][m[1]] {
				t.Errorf("%s: %s has no label %s", title, s[1], m[1])
			}
			labels[m[1]] = true
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ", ") {
			if len(names) == 0 || !there[names[0]][label] {
				t.Errorf("%s: by %s", title, label)
			}
			labels[label] = true
		}
	}
	for _, name := range ours.FindAllString(expr+legend, -1) {
		if !labels[name] && !slices.Contains(names, name) {
			t.Errorf("%s: %s is neither a series nor a label", title, name)
		}
	}
	for _, v := range variable.FindAllStringSubmatch(expr, -1) {
		if !variables[v[1]] {
			t.Errorf("%s: no variable %s", title, v[1])
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") {
		t.Errorf("%s: %s", title, expr)
	}
	return names
}
