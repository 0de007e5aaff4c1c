package holdfast_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// What Redis is told is how long, never until when: clocks of two machines agree
// on the first alone. So nothing that a user links turns a time into a number, no
// deadline loses its monotonic reading, and no script sets an end by anybody's
// clock.
func TestNoWallClock(t *testing.T) {
	t.Parallel()
	numbers := []string{"Unix", "UnixMilli", "UnixMicro", "UnixNano", "UTC", "Local"}
	for _, dir := range []string{
		".", "mutex", "reentrant", "rwlock", "semaphore", "redlock", "watchdog", "lua", "guard",
		"internal/courier", "internal/inbox", "internal/keys", "internal/kind", "internal/lane", "internal/owner",
	} {
		for _, name := range sources(t, filepath.FromSlash(dir), "*.go") {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.SelectorExpr); ok && slices.Contains(numbers, call.Sel.Name) {
					t.Errorf("%s: .%s", set.Position(call.Pos()), call.Sel.Name)
				}
				return true
			})
		}
	}
	absolute := regexp.MustCompile(`'(PXAT|EXAT|P?EXPIREAT)'`)
	for _, name := range sources(t, "lua", "*.lua") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := absolute.Find(text); found != nil {
			t.Errorf("%s: %s", name, found)
		}
	}
}

// sources are the files of a directory that are no tests.
func sources(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		test, err := filepath.Match("*_test.go", filepath.Base(name))
		return err != nil || test
	})
}
