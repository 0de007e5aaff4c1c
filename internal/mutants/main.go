// Command mutants breaks the project on purpose, one rule at a time, and demands
// that a test notices. Each break is a patch in testdata/mutants, which says in its
// first lines which rule it breaks, how, and which test must fail by that:
//
//	go run ./internal/mutants                every patch: make mutants
//	go run ./internal/mutants -run grant     those whose name has that
//	go run ./internal/mutants -list          the table of docs/reliability.md
//
// It works on a copy of the tree, changed files included. A test counts only if it
// passes without the patch, and a patch only if the test still builds with it: so a
// patch that no longer fits, a test that was renamed, and one that always fails are
// errors, not successes. Tests run without the race detector, which finds races
// rather than broken rules, and takes several times as long.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // the root of the program
	code := run(ctx, os.Stdout, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the command. It returns its exit code: 1 if a break was not noticed, or
// could not be tried.
func run(ctx context.Context, out io.Writer, args []string) int {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	only := flags.String("run", "", "a regular expression: only patches whose name it matches")
	list := flags.Bool("list", false, "print the patches as a table, and run nothing")
	limit := flags.Duration("limit", 2*time.Minute, "how long one test may take")
	workers := flags.Int("j", min(2, runtime.NumCPU()), "how many are tried at once")
	if flags.Parse(args) != nil {
		return 2
	}
	all, err := load(ctx, *only)
	if err != nil {
		say(out, "%v", err)
		return 2
	}
	if *list {
		for _, m := range all {
			say(out, "%s", m.row())
		}
		return 0
	}
	began := time.Now()
	results, err := tryAll(ctx, out, all, *workers, *limit)
	if err != nil {
		say(out, "%v", err)
		return 2
	}
	return conclude(out, results, time.Since(began))
}

// load reads the patches whose name the expression matches.
func load(ctx context.Context, only string) ([]mutant, error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	root, err := findRoot(ctx)
	if err != nil {
		return nil, err
	}
	all, err := readAll(root)
	if err != nil {
		return nil, err
	}
	var some []mutant
	for _, m := range all {
		if wanted.MatchString(m.name) {
			some = append(some, m)
		}
	}
	return some, nil
}

// tryAll tries each patch, several at once, each in a copy of the tree of its own.
func tryAll(ctx context.Context, out io.Writer, all []mutant, workers int, limit time.Duration) ([]result, error) {
	root, err := findRoot(ctx)
	if err != nil {
		return nil, err
	}
	var trees []tree
	defer func() {
		for _, t := range trees {
			t.remove()
		}
	}()
	for range 1 + max(1, min(workers, len(all))) {
		t, err := copyTree(ctx, root)
		if err != nil {
			return nil, err
		}
		trees = append(trees, t)
	}
	sound := &baseline{clean: trees[0], limit: limit, built: map[string]*once{}, known: map[string]*once{}}
	results := make([]result, len(all))
	next := make(chan int)
	var mu sync.Mutex // over out
	var wg sync.WaitGroup
	for _, t := range trees[1:] {
		wg.Go(func() {
			for i := range next {
				r := try(ctx, t, sound, all[i], limit)
				mu.Lock()
				results[i] = r
				say(out, "%s", r)
				mu.Unlock()
			}
		})
	}
	for i := range all {
		if ctx.Err() != nil {
			break // the rest would only fail
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return results, ctx.Err()
}

// conclude names what is not as it should be once more, and prints the sum.
func conclude(out io.Writer, results []result, took time.Duration) int {
	caught := 0
	for _, r := range results {
		if r.caught() {
			caught++
		} else {
			say(out, "%s: %s", r.verdict, r.name)
		}
	}
	say(out, "%d of %d caught, in %v", caught, len(results), took.Round(time.Second))
	if caught < len(results) {
		return 1
	}
	return 0
}

// say prints a line.
func say(out io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(out, format+"\n", args...) // nobody is left to tell
}
