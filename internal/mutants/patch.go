package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// dir has the patches, from the root of the tree.
const dir = "testdata/mutants"

// mutant is one break, as its patch says.
type mutant struct {
	name   string // of the file, without its ending
	path   string
	rule   string // which it breaks: "rule 3, point 1"
	breaks string // how
	pkg    string // where its test is: "./mutex"
	test   string // for -run: "TestFaults/Rule3LateReplyIsNoLease"
}

// readAll reads every patch, in the order of the names.
func readAll(root string) ([]mutant, error) {
	paths, err := filepath.Glob(filepath.Join(root, dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, path := range paths {
		m, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no patches in %s", dir)
	}
	return all, nil
}

func read(path string) (mutant, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return mutant{}, err
	}
	m, err := parse(string(text))
	m.path = path
	m.name = strings.TrimSuffix(filepath.Base(path), ".patch")
	return m, err
}

// parse reads what stands before the diff: a line each of "Rule: ", "Breaks: " and
// "Test: package expression".
func parse(text string) (mutant, error) {
	head, diff, ok := strings.Cut(text, "\ndiff --git ")
	if !ok || !strings.Contains(diff, "\n@@ ") {
		return mutant{}, errors.New("no diff")
	}
	var m mutant
	fields := map[string]*string{"Rule": &m.rule, "Breaks": &m.breaks, "Test": &m.test}
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if field := fields[key]; field != nil {
			*field = value
		}
	}
	m.pkg, m.test, _ = strings.Cut(m.test, " ")
	if m.rule == "" || m.breaks == "" || m.pkg == "" || m.test == "" {
		return mutant{}, errors.New(`not all of "Rule: ", "Breaks: ", "Test: package expression" before the diff`)
	}
	return m, nil
}

// row is the mutant's line in the table of docs/reliability.md.
func (m mutant) row() string {
	return fmt.Sprintf("| %s | %s | `%s` | `%s` |", m.rule, m.breaks, m.name, m.testName())
}

// testName is the test that must fail, as docs write it: package and name.
func (m mutant) testName() string {
	pkg := strings.TrimPrefix(m.pkg, "./")
	if pkg == "." {
		pkg = "holdfast"
	}
	return pkg + "." + strings.TrimSuffix(m.test, "$")
}
