// Command bench runs Holdfast and other libraries side by side on a Redis server of
// its own and writes what it found to RESULTS.md, results.json and chart.svg.
//
//	go run .                    everything: some twenty minutes
//	go run . -quick             a look, into quick/
//	go run . -tables 3,9        only these; the others stay as they were
//	go run . -render            only writes the page, from results.json and notes.md
//
// It is a module of its own, so that what it compares with stays out of what users
// of Holdfast download.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/fleet"
	"github.com/holdfast-go/holdfast/bench/internal/page"
	"github.com/holdfast-go/holdfast/bench/internal/results"
	"github.com/holdfast-go/holdfast/bench/internal/table"
	"github.com/holdfast-go/holdfast/bench/internal/worker"
)

func main() {
	if os.Getenv(fleet.WorkerVariable) != "" {
		if err := worker.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
			fail(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, parse()); err != nil {
		stop()
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// command is what was asked for.
type command struct {
	table.Options

	dir, out, profile string
	tables            []int // none: all
	render, java      bool
}

func parse() command {
	c := command{Options: table.Options{Log: os.Stderr}}
	flag.IntVar(&c.Rounds, "rounds", 5, "rounds, of which the median is taken")
	flag.DurationVar(&c.Window, "window", time.Second, "how long each measures in a round, unless the work needs longer")
	flag.BoolVar(&c.Quick, "quick", false, "one short round of all but the longest, into quick/: to see that it works")
	flag.BoolVar(&c.render, "render", false, "only write the page and the chart again")
	flag.BoolVar(&c.java, "java", true, "run Redisson, if there are Java and Maven")
	flag.StringVar(&c.dir, "dir", ".", "where notes.md and redisson/ are")
	flag.StringVar(&c.out, "out", "", "where the results go; default: -dir, or quick/ in it")
	flag.StringVar(&c.profile, "profile", "", "directory for profiles of this project's processes")
	tables := flag.String("tables", "", "numbers of tables, as in 3,9; default: all")
	flag.Parse()
	for number := range strings.SplitSeq(*tables, ",") {
		if n, err := strconv.Atoi(number); err == nil {
			c.tables = append(c.tables, n)
		}
	}
	if c.Quick {
		c.Rounds, c.Window = 1, 200*time.Millisecond
	}
	switch {
	case c.out != "":
	case c.Quick:
		c.out = filepath.Join(c.dir, "quick")
	default:
		c.out = c.dir
	}
	return c
}

func run(ctx context.Context, c command) error {
	if err := os.MkdirAll(c.out, 0o755); err != nil { //nolint:gosec // for everybody to read
		return err
	}
	kept := filepath.Join(c.out, "results.json")
	r, err := results.Load(kept)
	if err != nil {
		return err
	}
	if !c.render {
		if err := measure(ctx, c, r); err != nil {
			return err
		}
		if err := r.Save(kept); err != nil {
			return err
		}
	}
	return write(c, r)
}

// measure runs the tables and puts them in r.
func measure(ctx context.Context, c command, r *results.Results) error {
	bench, err := fleet.Start(ctx)
	if err != nil {
		return err
	}
	defer bench.Close()
	bench.Profile = c.profile
	if c.profile != "" {
		if err := os.MkdirAll(c.profile, 0o755); err != nil { //nolint:gosec // as the results
			return err
		}
	}
	jvmDir := filepath.Join(c.dir, "redisson")
	if c.java {
		if err := bench.StartJVM(ctx, jvmDir); err != nil {
			_, _ = fmt.Fprintln(c.Log, "without Redisson:", err)
		}
	}
	machine := describe(ctx, bench, jvmDir)
	for _, s := range table.All() {
		if len(c.tables) > 0 && !slices.Contains(c.tables, s.Number) {
			continue
		}
		t, err := s.Run(ctx, bench, c.Options)
		if err != nil {
			return err
		}
		t.Machine = machine
		r.Replace(t)
	}
	return nil
}

// write writes the page and the chart.
func write(c command, r *results.Results) error {
	notes, err := os.ReadFile(filepath.Join(c.dir, "notes.md"))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"RESULTS.md": page.Markdown(r, string(notes)),
		"chart.svg":  page.Chart(r),
	} {
		if err := os.WriteFile(filepath.Join(c.out, name), []byte(text), 0o644); err != nil { //nolint:gosec // for everybody to read
			return err
		}
	}
	return nil
}
