//go:build linux

package processtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/contract"
)

// answerTime is how long a child may take to answer.
const answerTime = 30 * time.Second

// Process is a child as its test has it. Its methods are for the goroutine of
// the test.
type Process struct {
	t        *testing.T
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	reports  chan Report   // closed once the process was waited for
	followed chan struct{} // closed once a follower has had the last report; nil: there is none
	output   bytes.Buffer  // what it said otherwise; to be read once it ended
	err      error         // of Wait
	ending   atomic.Bool   // the test has seen to its end
}

// Start returns once the child is connected.
func Start(t *testing.T, set Settings) *Process {
	t.Helper()
	given, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0],
		"-test.run=^TestChildProcess$", "-test.cpu="+strconv.Itoa(runtime.GOMAXPROCS(0)))
	// The race detector lets a process sleep for a second before it exits.
	cmd.Env = append(os.Environ(), childVariable+"="+string(given), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	// It ends with its stdin, but not while it is stopped.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &Process{t: t, cmd: cmd, reports: make(chan Report, 16)}
	cmd.Stderr = &p.output
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	go p.run(started, stdout)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.cleanup)
	p.Expect("ready")
	return p
}

// run starts the child and waits for it on one thread: Pdeathsig is sent when
// that thread ends.
func (p *Process) run(started chan<- error, stdout io.Reader) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	var rest []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var r Report
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			p.reports <- r
		} else {
			rest = append(rest, lines.Text())
		}
	}
	p.err = p.cmd.Wait()
	p.output.WriteString(strings.Join(rest, "\n"))
	close(p.reports)
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Tell gives an order.
func (p *Process) Tell(what string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, what); err != nil {
		p.t.Fatal(err)
	}
}

// Order gives an order, and returns once the child is about to do it.
func (p *Process) Order(what string) {
	p.t.Helper()
	p.Tell(what)
	p.Expect("begun")
}

// Follow hands all further reports to f, in order and from one goroutine, which
// ends with the process. Expect, Next and Order are of no use then.
func (p *Process) Follow(f func(Report)) {
	p.followed = make(chan struct{})
	go func() {
		defer close(p.followed)
		for r := range p.reports {
			f(r)
		}
	}()
}

// Expect is the child's next report, which must be of that event.
func (p *Process) Expect(event string) Report {
	p.t.Helper()
	r := p.Next(answerTime)
	if r.Event != event {
		p.t.Fatalf("the child said %+v instead of %q", r, event)
	}
	return r
}

// Next is the child's next report.
func (p *Process) Next(within time.Duration) Report {
	p.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case r, ok := <-p.reports:
		if ok {
			return r
		}
		p.t.Fatalf("the child ended: %v\n%s", p.err, p.output.String())
	case <-timer.C:
		p.t.Fatalf("the child said nothing for %v", within)
	}
	return Report{}
}

// Lock orders to lock, and returns the report once that is done.
func (p *Process) Lock(argument string) Report {
	p.t.Helper()
	p.Order("lock " + argument)
	return p.Expect("locked")
}

// Release returns the report of a release, which must have been confirmed.
func (p *Process) Release() Report {
	p.t.Helper()
	p.Order("release")
	r := p.Expect("released")
	if r.Error != "" {
		p.t.Errorf("Release: %s", r.Error)
	}
	return r
}

// Kill returns when the process is gone.
func (p *Process) Kill() {
	p.t.Helper()
	p.ending.Store(true)
	p.signal(syscall.SIGKILL)
	p.awaitEnd()
}

// Exit lets the process end itself, by os.Exit, while its goroutines are at work.
func (p *Process) Exit() {
	p.t.Helper()
	p.ending.Store(true)
	p.Order("exit")
	p.awaitEnd()
	var ended *exec.ExitError
	if !errors.As(p.err, &ended) || ended.ExitCode() != ExitCode {
		p.t.Fatalf("the child ended with %v:\n%s", p.err, p.output.String())
	}
}

// Stop returns when the process has really stopped: the signal is only under way
// when kill(2) returns.
func (p *Process) Stop() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	contract.Eventually(p.t, "the child to stop", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid()) + "/stat")
		if err != nil {
			p.t.Fatal(err)
		}
		// The name before the state is in parentheses and may hold anything.
		_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
		return bytes.HasPrefix(rest, []byte("T"))
	})
}

// Resume lets a stopped process go on.
func (p *Process) Resume() {
	p.t.Helper()
	p.signal(syscall.SIGCONT)
}

func (p *Process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%v: %v", s, err)
	}
}

// Close ends the child in good order: its client is closed, which Redis has
// confirmed, and nothing has leaked.
func (p *Process) Close() {
	p.t.Helper()
	p.ending.Store(true)
	_ = p.stdin.Close()
	late := time.AfterFunc(patience+10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	p.awaitEnd()
	if p.err != nil {
		p.t.Errorf("the child ended with %v:\n%s", p.err, p.output.String())
	}
}

// awaitEnd returns when the process was waited for, and all that it reported was
// dealt with. Reports that nobody asked for, such as of a wait that its end cut
// off, are dropped.
func (p *Process) awaitEnd() {
	if p.followed != nil {
		<-p.followed
		return
	}
	for range p.reports {
	}
}

func (p *Process) cleanup() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // where the test failed in between
	if p.ending.Load() {
		_ = p.cmd.Process.Kill()
		p.awaitEnd()
	} else {
		p.Close()
	}
}
