package holdfast_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Docs name tests as package and name, in the root package "holdfast"; TestContract
// and TestFaults without a package are those of every kind of lock.
var (
	testInDocs = regexp.MustCompile("`(?:([a-z0-9_/]+)\\.)?((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)((?:/[A-Za-z0-9_ ]+)?)`")
	caseOfAll  = regexp.MustCompile(`\{"(\w+)", \w+\}`)
)

// TestReliabilityNamesTests: what docs/reliability.md names is there.
func TestReliabilityNamesTests(t *testing.T) {
	t.Parallel()
	page := text(t, filepath.Join("docs", "reliability.md"))
	var cases []string
	for _, name := range sources(t, filepath.Join("internal", "contract"), "*.go") {
		for _, found := range caseOfAll.FindAllStringSubmatch(text(t, name), -1) {
			cases = append(cases, found[1])
		}
	}
	known := map[string][]string{} // the tests of each directory
	named := testInDocs.FindAllStringSubmatch(page, -1)
	for _, found := range named {
		pkg, name, sub := found[1], found[2], strings.TrimPrefix(found[3], "/")
		dir := filepath.FromSlash(pkg)
		switch pkg {
		case "holdfast":
			dir = "."
		case "":
			dir = "mutex"
			if name == "TestMain" {
				continue // of a package that is not said
			}
			if name != "TestContract" && name != "TestFaults" {
				t.Errorf("%s has no package", found[0])
			}
		}
		if known[dir] == nil {
			known[dir] = testsIn(t, dir)
		}
		if !slices.Contains(known[dir], name) {
			t.Errorf("%s: there is no such test", found[0])
		}
		if sub != "" && !slices.Contains(cases, sub) {
			t.Errorf("%s: there is no such case in internal/contract", found[0])
		}
	}
	if len(named) < 100 {
		t.Errorf("only %d tests were found on the page", len(named))
	}
	for row := 1; row <= 41; row++ { // each fault has a test, or its reason
		line := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d \|.*$`, row)).FindString(page)
		if !testInDocs.MatchString(line) && !strings.Contains(line, "out of scope: ") {
			t.Errorf("fault %d has neither a test nor a reason: %q", row, line)
		}
	}
}

// TestDesignNamesRules: the rules of the model that docs/design.md names by "-without"
// are there, and every rule by number is.
func TestDesignNamesRules(t *testing.T) {
	t.Parallel()
	page := text(t, filepath.Join("docs", "design.md"))
	_, page, ok := strings.Cut(page, "\n## The rules, by number\n")
	if !ok {
		t.Fatal("docs/design.md has no rules by number")
	}
	page, _, _ = strings.Cut(page, "\n## ")
	model := text(t, filepath.Join("internal", "model", "rules.go"))
	for n := 1; n <= 28; n++ {
		line := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d \|.*$`, n)).FindString(page)
		cells := strings.Split(line, " | ")
		if len(cells) != 4 {
			t.Errorf("rule %d has no line of four cells: %q", n, line)
			continue
		}
		for _, found := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(cells[2], -1) {
			if !strings.Contains(model, fmt.Sprintf(", %q, ", found[1])) {
				t.Errorf("rule %d: the model has no rule %q", n, found[1])
			}
		}
	}
}

func text(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// testsIn are the functions of the test files of a directory.
func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				found = append(found, f.Name.Name)
			}
		}
	}
	return found
}
