package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tree is a copy of the project's files, to be broken.
type tree struct{ dir string }

// findRoot is the root of the checkout.
func findRoot(ctx context.Context) (string, error) {
	out, err := git(ctx, ".", "rev-parse", "--show-toplevel")
	if err != nil {
		return "", fmt.Errorf("not in a checkout: %w", err)
	}
	return strings.TrimSpace(out), nil
}

// copyTree copies every file that git knows or would add, as it is now.
func copyTree(ctx context.Context, root string) (tree, error) {
	names, err := git(ctx, root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return tree{}, err
	}
	to, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return tree{}, err
	}
	t := tree{dir: to}
	for name := range strings.SplitSeq(strings.TrimRight(names, "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), filepath.Join(to, name)); err != nil {
			t.remove()
			return tree{}, err
		}
	}
	// Outside of any repository: git apply leaves out what is not below its own.
	if _, err := git(ctx, to, "init", "-q"); err != nil {
		t.remove()
		return tree{}, err
	}
	return t, nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if os.IsNotExist(err) {
		return nil // deleted, and not yet committed
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), fs.ModePerm); err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

func (t tree) remove() { _ = os.RemoveAll(t.dir) } // a directory for temporary files: no harm

// apply breaks the tree; revert mends it again.
func (t tree) apply(ctx context.Context, m mutant) error {
	_, err := git(ctx, t.dir, "apply", m.path)
	return err
}

func (t tree) revert(ctx context.Context, m mutant) error {
	_, err := git(ctx, t.dir, "apply", "--reverse", m.path)
	return err
}

// build compiles the tests of a package with what they need: a break that does not
// build shows nothing. Paths are trimmed so that the copies share a cache; nothing
// is optimized, since most of the time goes into compiling.
func (t tree) build(ctx context.Context, pkg string) (binary string, err error) {
	binary = filepath.Join(t.dir, "bin", strings.ReplaceAll(pkg, "/", "_")+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath",
		"-gcflags=./...=-N -l", "-ldflags=-s -w", "-o", binary, pkg)
	cmd.Dir = t.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not build: %w\n%s", err, out)
	}
	return binary, nil
}

// test runs a compiled test where go test would.
func (t tree) test(ctx context.Context, binary, pkg, name string, limit time.Duration) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit+10*time.Second) // it ends itself before
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", name, "-test.v", "-test.count=1", "-test.timeout="+limit.String())
	cmd.Dir = filepath.Join(t.dir, filepath.FromSlash(pkg))
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// git runs git in a directory, whatever repository the environment names.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
