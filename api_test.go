package holdfast_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/api anew")

// TestAPI compares the exported names of every package that users can import
// with testdata/api, so that a change of them is seen in review. It reads the
// source alone: nothing is built, and the result is the same on every machine.
func TestAPI(t *testing.T) {
	t.Parallel()
	const golden = "testdata/api"
	got := interfaces(t)
	if *update {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(golden, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range got {
			if err := os.WriteFile(filepath.Join(golden, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := map[string]string{}
	files, err := filepath.Glob(filepath.Join(golden, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want[filepath.Base(file)] = string(text)
	}
	for _, name := range slices.Sorted(maps.Keys(joined(got, want))) {
		if got[name] != want[name] {
			t.Errorf("%s/%s is not what the source says; if that is meant, go test . -run TestAPI -update\n%s",
				golden, name, difference(want[name], got[name]))
		}
	}
}

func joined(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// difference lists the lines that only one of the texts has.
func difference(before, after string) string {
	var b strings.Builder
	for _, side := range []struct{ mark, here, there string }{{"-", before, after}, {"+", after, before}} {
		other := strings.Split(side.there, "\n")
		for line := range strings.SplitSeq(side.here, "\n") {
			if !slices.Contains(other, line) {
				fmt.Fprintln(&b, side.mark, line)
			}
		}
	}
	return b.String()
}

// interfaces is the text for each package, by the name of its file.
func interfaces(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		switch name := entry.Name(); {
		case name == "internal", name == "testdata", dir == "examples", dir == "bench",
			dir != "." && strings.HasPrefix(name, "."):
			return fs.SkipDir
		}
		text, err := exported(dir)
		if text != "" {
			name := strings.ReplaceAll(filepath.ToSlash(dir), "/", "_")
			if dir == "." {
				name = "holdfast"
			}
			all[name+".txt"] = text
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// exported is what the package in a directory exports: no comments, no bodies,
// no unexported fields. It is empty where there is no package to import.
func exported(dir string) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, wrong := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if wrong != nil {
			return "", wrong
		}
		files = append(files, file)
	}
	if len(files) == 0 || files[0].Name.Name == "main" {
		return "", nil
	}
	p, err := doc.NewFromFiles(set, files, path.Join("github.com/holdfast-go/holdfast", filepath.ToSlash(dir)))
	if err != nil {
		return "", err
	}
	w := writer{set: set}
	fmt.Fprintf(&w.text, "package %s // import %q\n", p.Name, p.ImportPath)
	w.values(p.Consts)
	w.values(p.Vars)
	if len(p.Funcs) > 0 {
		w.text.WriteByte('\n')
		w.funcs(p.Funcs)
	}
	for _, typ := range p.Types {
		w.text.WriteByte('\n')
		w.decl(typ.Decl)
		w.values(typ.Consts)
		w.values(typ.Vars)
		w.funcs(typ.Funcs)
		w.funcs(typ.Methods)
	}
	return w.text.String(), w.err
}

// writer collects declarations; functions stand together.
type writer struct {
	set  *token.FileSet
	text strings.Builder
	err  error
}

func (w *writer) values(all []*doc.Value) {
	for _, v := range all {
		w.text.WriteByte('\n')
		w.decl(v.Decl)
	}
}

func (w *writer) funcs(all []*doc.Func) {
	for _, f := range all {
		w.decl(f.Decl)
	}
}

// decl writes a declaration as gofmt would if it stood without comments.
func (w *writer) decl(d ast.Decl) {
	var b strings.Builder
	if err := format.Node(&b, w.set, d); err != nil {
		w.err = err
		return
	}
	var lines []string // without the empty ones that comments leave behind
	for line := range strings.SplitSeq(b.String(), "\n") {
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	text, err := format.Source([]byte(strings.Join(lines, "\n")))
	if err != nil {
		w.err = err
	}
	fmt.Fprintf(&w.text, "%s\n", text)
}
