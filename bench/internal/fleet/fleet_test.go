package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/fleet"
	"github.com/holdfast-go/holdfast/bench/internal/worker"
)

// The test binary is the worker, too, as the bench is.
func TestMain(m *testing.M) {
	if os.Getenv(fleet.WorkerVariable) != "" {
		if err := worker.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func start(t *testing.T) *fleet.Bench {
	t.Helper()
	bench, err := fleet.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bench.Close)
	return bench
}

const window = 200 * time.Millisecond

func run(t *testing.T, bench *fleet.Bench, job worker.Job) *fleet.Outcome {
	t.Helper()
	all, err := bench.Windows(t.Context(), job, window, window, 1)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func TestContended(t *testing.T) {
	o := run(t, start(t), worker.Job{
		Library: "holdfast", Work: worker.WorkLock, Processes: 2, Contenders: 5, Keys: 1, Trace: true,
	})
	if len(o.Workers) != 2 || len(o.Workers[0].Counts) != 3 || len(o.Workers[1].Counts) != 2 {
		t.Fatalf("5 contenders in 2 processes: %d workers, %d and %d", len(o.Workers), len(o.Workers[0].Counts), len(o.Workers[1].Counts))
	}
	var cycles int64
	for _, w := range o.Workers {
		var own int64
		for _, n := range w.Counts {
			own += n
		}
		if w.Failures > 0 || own == 0 || int(own) != len(w.Times) || int(own) != len(w.Acquired) || int(own) != len(w.Released) {
			t.Errorf("%d cycles, %d times, %d and %d traces, %d failures %s",
				own, len(w.Times), len(w.Acquired), len(w.Released), w.Failures, w.Failure)
		}
		if w.CPU <= 0 {
			t.Error("a worker used no CPU")
		}
		cycles += own
	}
	// Few are sent, since a process passes a lock on inside itself.
	if sent := o.Library.Sent(o.Server.Calls, cycles); sent <= 0 || sent > 4*cycles+100 {
		t.Errorf("%d commands sent for %d cycles", sent, cycles)
	}
	if o.Server.Total() <= o.Library.Sent(o.Server.Calls, cycles) || o.Server.Scripts() == 0 {
		t.Errorf("the calls of scripts are missing: %v", o.Server.Calls)
	}
}

func TestKinds(t *testing.T) {
	bench := start(t)
	for _, job := range []worker.Job{
		{Work: worker.WorkRW, Writes: 50},
		{Work: worker.WorkSemaphore, Limit: 2},
	} {
		job.Library, job.Processes, job.Contenders, job.Keys = "holdfast", 2, 6, 1
		o := run(t, bench, job)
		cycles, wrote := 0, int64(0)
		for _, w := range o.Workers {
			if w.Failures > 0 {
				t.Errorf("%s: %s", job.Work, w.Failure)
			}
			cycles += len(w.Times) + len(w.WriteTimes)
			wrote += w.Writes
		}
		if cycles == 0 || (wrote > 0) != (job.Work == worker.WorkRW) {
			t.Errorf("%s: %d cycles, %d writes", job.Work, cycles, wrote)
		}
	}
}

func TestIdle(t *testing.T) {
	o := run(t, start(t), worker.Job{Library: "holdfast", Work: worker.WorkIdle, Processes: 2, Contenders: 5, Keys: 1})
	waiting := 0
	for _, w := range o.Workers {
		waiting += len(w.Pending)
		if len(w.Times) > 0 || w.Failures > 0 {
			t.Errorf("%d acquired what is held, %d failures %s", len(w.Times), w.Failures, w.Failure)
		}
	}
	if waiting != 4 {
		t.Errorf("%d wait, not 4", waiting)
	}
}

func TestLeases(t *testing.T) {
	bench := start(t)
	for _, library := range []string{"holdfast", "rueidislock", "bsm-renewed"} {
		job := worker.Job{Library: library, Work: worker.WorkLeases, Processes: 1, Leases: 300}
		all, err := bench.Windows(t.Context(), job, time.Millisecond, window, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range all {
			if w := o.Workers[0]; w.Lost != 0 || w.Memory <= 0 || w.Goroutines <= 0 {
				t.Errorf("%s: %+v", library, w)
			}
		}
	}
}

// What went wrong in a worker is told.
func TestFailure(t *testing.T) {
	bench := start(t)
	job := worker.Job{Library: "none", Work: worker.WorkLock, Processes: 1}
	if _, err := bench.Windows(t.Context(), job, 0, window, 1); err == nil {
		t.Error("an unknown library was run")
	}
	job.Library = "redisson"
	if _, err := bench.Windows(t.Context(), job, 0, window, 1); !errors.Is(err, fleet.ErrNoJVM) {
		t.Errorf("without a JVM: %v", err)
	}
}

// StartServer has no test to fail: what goes wrong is an error.
func TestNoServer(t *testing.T) {
	t.Setenv("HOLDFAST_TEST_SERVER", "no-such-server")
	if s, err := fleet.StartServer(t.Context()); err == nil {
		s.Close()
		t.Error("a server was started from nothing")
	}
}
