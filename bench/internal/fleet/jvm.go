package fleet

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/holdfast-go/holdfast/bench/internal/worker"
)

// ErrNoJVM means that the runs of Redisson are skipped.
var ErrNoJVM = errors.New("no JVM")

// jvm is the one process that does all jobs of Redisson: what it has compiled while
// it did one serves the next.
type jvm struct {
	*process
	start func() (*process, error)
}

// StartJVM builds the program in dir, which needs Java 17 and Maven, and starts it.
// Without it, jobs of Redisson end with ErrNoJVM.
func (b *Bench) StartJVM(ctx context.Context, dir string) error {
	java, err := exec.LookPath("java")
	if err != nil {
		return fmt.Errorf("%w: there is no java here", ErrNoJVM)
	}
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: there is no mvn here", ErrNoJVM)
	}
	build := exec.CommandContext(ctx, maven, "-q", "-B", "prepare-package")
	build.Dir = dir
	said, err := build.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: mvn package: %w: %.400s", ErrNoJVM, err, strings.TrimSpace(string(said)))
	}
	classes := filepath.Join(dir, "target", "classes") + ":" + filepath.Join(dir, "target", "dependency", "*")
	start := func() (*process, error) { return startProcess(ctx, nil, java, "-cp", classes, "bench.Main") }
	p, err := start()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoJVM, err)
	}
	b.jvm = &jvm{p, start}
	return nil
}

// HasJVM tells whether Redisson can be run.
func (b *Bench) HasJVM() bool { return b.jvm != nil }

// jvmCrew gives the JVM a job. All processes of it are clients in the one JVM.
func (b *Bench) jvmCrew(job worker.Job) (crew, error) {
	if b.jvm == nil {
		return crew{}, ErrNoJVM
	}
	c := crew{processes: []*process{b.jvm.process}, over: b.jvm.over}
	if err := b.jvm.send(job); err != nil {
		return c, err
	}
	return c, b.jvm.ready()
}

// over ends a job. A JVM that does not go on afterwards is replaced.
func (j *jvm) over() {
	if j.send("done") == nil && j.ready() == nil {
		return
	}
	j.close()
	if p, err := j.start(); err == nil {
		j.process = p
	}
}
