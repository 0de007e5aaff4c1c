package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is that of the tree, from here.
const root = "../.."

func patches(t *testing.T) []mutant {
	t.Helper()
	all, err := readAll(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Each patch still fits the tree: make mutants, which takes minutes, would be the
// first to notice otherwise.
func TestPatchesApply(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git, and nothing else reads patches")
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range patches(t) {
		cmd := exec.CommandContext(t.Context(), "git", "apply", "--check", filepath.Join(top, dir, m.name+".patch"))
		cmd.Dir = top
		// Of a tree that is no checkout, git must not find one around it.
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(top))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", m.name, err, out)
		}
	}
}

// Each patch names a test that is there. Those of the suites that all kinds of lock
// share are a list in internal/contract.
func TestPatchesNameTests(t *testing.T) {
	t.Parallel()
	suites := textOf(t, filepath.Join(root, "internal", "contract"), "*.go")
	for _, m := range patches(t) {
		name, sub, _ := strings.Cut(strings.TrimSuffix(m.test, "$"), "/")
		if !functions(t, filepath.Join(root, m.pkg))[name] {
			t.Errorf("%s: no test %s in %s", m.name, name, m.pkg)
		}
		if sub != "" && !strings.Contains(suites, fmt.Sprintf("{%q, ", sub)) {
			t.Errorf("%s: no case %s in internal/contract", m.name, sub)
		}
	}
}

// No rule of the protocol, and no point of the contract, is without a break.
func TestEveryRuleIsBroken(t *testing.T) {
	t.Parallel()
	broken := map[string]bool{}
	numbers := regexp.MustCompile(`\d+`)
	for _, m := range patches(t) {
		for part := range strings.SplitSeq(m.rule, "; ") {
			what, _, _ := strings.Cut(strings.ReplaceAll(part, "s ", " "), " ")
			for _, n := range numbers.FindAllString(part, -1) {
				broken[what+" "+n] = true
			}
		}
	}
	for what, count := range map[string]int{"rule": 28, "point": 14} {
		for n := 1; n <= count; n++ {
			if name := fmt.Sprintf("%s %d", what, n); !broken[name] {
				t.Errorf("nothing breaks %s", name)
			}
		}
	}
}

// docs/reliability.md has a line for each patch, and no other.
func TestTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range patches(t) {
		rows[m.row()] = true
		if !strings.Contains(string(page), "\n"+m.row()+"\n") {
			t.Errorf("docs/reliability.md lacks (go run ./internal/mutants -list)\n%s", m.row())
		}
	}
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if ofPatch := regexp.MustCompile("\\| `[rcx]\\d*-").MatchString(line); ofPatch && !rows[line] {
			t.Errorf("docs/reliability.md has what is no patch:\n%s", line)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const diff = "\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
	m, err := parse("Rule: rule 3; point 1\nBreaks: much\nTest: ./mutex TestX/Y\n" + diff)
	if err != nil || m.rule != "rule 3; point 1" || m.breaks != "much" || m.pkg != "./mutex" || m.testName() != "mutex.TestX/Y" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, text := range []string{
		"", "Rule: 1\nBreaks: x\nTest: . TestX\n", "Rule: 1\nBreaks: x\nTest: .\n" + diff, "Breaks: x\nTest: . TestX\n" + diff, diff,
	} {
		if m, err := parse(text); err == nil {
			t.Errorf("%q is a patch: %+v", text, m)
		}
	}
}

// A break that is noticed, one that is not, and those that show nothing: each is
// told from the others, and only the first lets the command succeed.
func TestRun(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git, and nothing else reads patches")
	}
	module := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module example.org/m\n\ngo 1.24\n",
		"m.go":      "package m\n\nfunc One() int { return 1 }\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) {\n\tif One() != 1 {\n\t\tt.Fail()\n\t}\n}\n\nfunc TestNothing(*testing.T) {}\n\nfunc TestRed(t *testing.T) { t.Fail() }\n",
	} {
		write(t, filepath.Join(module, name), text)
	}
	patch := func(name, test, was, is string) {
		write(t, filepath.Join(module, dir, name+".patch"), fmt.Sprintf(
			"Rule: x\nBreaks: x\nTest: . %s\n\ndiff --git a/m.go b/m.go\n--- a/m.go\n+++ b/m.go\n@@ -3 +3 @@\n-%s\n+%s\n", test, was, is))
	}
	const was, is = "func One() int { return 1 }", "func One() int { return 2 }"
	patch("noticed", "TestOne", was, is)
	patch("unnoticed", "TestNothing", was, is)
	patch("old", "TestOne", "func One() int { return 3 }", is)
	patch("untyped", "TestOne", was, "func One() int { return x }")
	patch("always", "TestRed", was, is)
	patch("renamed", "TestTwo", was, is)
	if _, err := git(t.Context(), module, "init", "-q"); err != nil {
		t.Fatal(err)
	}
	t.Chdir(module)
	for name, want := range map[string]struct {
		verdict verdict
		says    string
	}{
		"noticed": {caught, "1 of 1 caught"}, "unnoticed": {survived, "0 of 1 caught"},
		"old": {failed, "patch does not apply"}, "untyped": {failed, "undefined: x"},
		"always": {failed, "fails without the patch"}, "renamed": {failed, "no such test"},
	} {
		var out strings.Builder
		code := run(t.Context(), &out, []string{"-run", "^" + name + "$"})
		if want := map[bool]int{true: 0, false: 1}[want.verdict == caught]; code != want {
			t.Errorf("%s: exit status %d", name, code)
		}
		if !strings.Contains(out.String(), string(want.verdict)) || !strings.Contains(out.String(), want.says) {
			t.Errorf("%s: neither %q nor %q in\n%s", name, want.verdict, want.says, out.String())
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// textOf is the text of all files of a directory that match.
func textOf(t *testing.T, in, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(in, pattern))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// functions are the names of the functions in the test files of a directory.
func functions(t *testing.T, in string) map[string]bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(in, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				found[f.Name.Name] = true
			}
		}
	}
	return found
}
