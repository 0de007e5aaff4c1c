package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// verdict is what became of a mutant.
type verdict string

const (
	caught   verdict = "caught"
	survived verdict = "SURVIVED"
	failed   verdict = "ERROR" // it could not be tried
)

// result is what became of one mutant.
type result struct {
	mutant
	verdict
	took   time.Duration // of its test
	output string        // why
}

func (r result) caught() bool { return r.verdict == caught }

func (r result) String() string {
	return fmt.Sprintf("%-8s %5.1f s  %-34s %-24s %s\n%s",
		r.verdict, r.took.Seconds(), r.name, r.rule, r.testName(), indented(r.output))
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

// try breaks the tree, runs the test, and mends the tree again.
func try(ctx context.Context, broken tree, sound *baseline, m mutant, limit time.Duration) result {
	r := result{mutant: m, verdict: failed}
	runs, err := sound.passes(ctx, m)
	if err == nil {
		err = broken.apply(ctx, m)
	}
	if err != nil {
		r.output = err.Error()
		return r
	}
	if binary, wrong := broken.build(ctx, m.pkg); wrong != nil {
		r.output = wrong.Error()
	} else {
		r.verdict = survived
		// A busy machine makes a test fail, or hides what it would notice: it is run a
		// few times, and must fail more often than it did on the tree as it is.
		for run, failures := 1, 0; run <= tries && r.verdict == survived; run++ {
			began := time.Now()
			output, failure := broken.test(ctx, binary, m.pkg, m.test, limit)
			r.took = time.Since(began)
			r.verdict, r.output = judge(output, failure)
			if r.caught() {
				if failures++; failures < runs {
					r.verdict = survived
				}
			}
		}
	}
	if err = broken.revert(ctx, m); err != nil {
		r.verdict, r.output = failed, err.Error()
	}
	return r
}

// judge tells what a run of the test on a broken tree shows. Only a test that
// failed, or did not end, has noticed anything.
func judge(output string, err error) (verdict, string) {
	switch {
	case err == nil:
		return survived, tail(output)
	case strings.Contains(output, "--- FAIL"), strings.Contains(output, "panic: "):
		return caught, complaint(output)
	}
	return failed, fmt.Sprintf("%v\n%s", err, tail(output))
}

// complaint is the first thing that a test that failed says.
func complaint(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if said.MatchString(line) || strings.HasPrefix(line, "panic: ") {
			return line
		}
	}
	return "it does not say why"
}

// said is how a line of t.Error begins.
var said = regexp.MustCompile(`^\w+\.go:\d+: `)

// tail is the end of a long output.
func tail(output string) string {
	const most = 2000
	if len(output) > most {
		return "... " + output[len(output)-most:]
	}
	return output
}

// baseline is which tests pass on the tree as it is. Safe for concurrent use.
type baseline struct {
	clean tree
	limit time.Duration

	mu    sync.Mutex
	built map[string]*once // by package
	known map[string]*once // by package and test
}

// once is something that is found out once, whoever asks.
type once struct {
	sync.Once
	binary string
	runs   int
	err    error
}

func of(mu *sync.Mutex, all map[string]*once, key string) *once {
	mu.Lock()
	defer mu.Unlock()
	if all[key] == nil {
		all[key] = &once{}
	}
	return all[key]
}

// tries is how often a test is run at the most.
const tries = 3

// passes runs a test on the tree as it is, until it passes.
func (b *baseline) passes(ctx context.Context, m mutant) (runs int, err error) {
	pkg := of(&b.mu, b.built, m.pkg)
	pkg.Do(func() { pkg.binary, pkg.err = b.clean.build(ctx, m.pkg) })
	if pkg.err != nil {
		return 0, pkg.err
	}
	test := of(&b.mu, b.known, m.pkg+" "+m.test)
	test.Do(func() {
		for test.runs = 1; ; test.runs++ {
			output, err := b.clean.test(ctx, pkg.binary, m.pkg, m.test, b.limit)
			if test.err = ran(output, m.test); err != nil {
				test.err = fmt.Errorf("its test fails without the patch as well: %w\n%s", err, tail(output))
			}
			if err == nil || test.runs == tries || ctx.Err() != nil {
				return
			}
		}
	})
	return test.runs, test.err
}

// ran wants that each part of a test's name was run: a subtest that is not there
// does not fail.
func ran(output, test string) error {
	const passed = "--- PASS: "
	parts := strings.Split(test, "/")
	for line := range strings.Lines(output) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), passed)
		if ok && strings.Count(name, "/")+1 >= len(parts) {
			return nil
		}
	}
	return errors.New("no such test: " + test)
}
