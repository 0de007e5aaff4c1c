package testredis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopGrace is how long a server may take over SIGTERM. A healthy one needs a few
// milliseconds; one with a replica that lags would wait ten seconds for it.
const stopGrace = 2 * time.Second

var errExited = errors.New("the server exited")

// process is one run of the server: a child of this process, and the only one that
// it ever sends a signal to.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once the child is gone and was waited for
}

// startProcess starts the server. Its output is added to the file logPath. ctx
// bounds nothing: it is there for its values.
func startProcess(ctx context.Context, binary string, args []string, logPath string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	p := &process{cmd: cmd, exited: make(chan struct{})}

	started := make(chan error, 1)
	go p.run(started, log)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return p, nil
}

// run starts the child and waits for it, on one thread that is kept for nothing
// else. Linux sends the parent-death signal when the *thread* that started the
// child ends, and the Go runtime ends a thread when a goroutine locked to it
// returns. A thread that is locked here until the child is gone can only end
// earlier together with the whole process.
func (p *process) run(started chan<- error, log *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	_ = log.Close() // the child has its own descriptor
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // it may end as it likes: by signal, or refusing its arguments
		close(p.exited)
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the server to end, and kills it when the grace is over.
func (p *process) stop() {
	_ = p.signal(sigCont) // a stopped process would not see the next one
	_ = p.signal(syscall.SIGTERM)
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.exited:
	case <-grace.C:
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL) // ends a stopped process as well; an ended one is fine
	<-p.exited
}

func (p *process) resume() error { return p.signal(sigCont) }

// pause returns when the server has really stopped: the signal is only under way
// when kill(2) returns, and another core may still be executing a command.
func (p *process) pause() error {
	if err := p.signal(sigStop); err != nil {
		return err
	}
	deadline := time.NewTimer(callTimeout)
	defer deadline.Stop()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !hasStopped(p.pid()) {
		select {
		case <-ticker.C:
		case <-p.exited:
			return errExited
		case <-deadline.C:
			return errors.New("the server did not stop")
		}
	}
	return nil
}

// signal never reaches a stranger: os.Process knows when the child was waited for.
func (p *process) signal(sig syscall.Signal) error {
	return p.cmd.Process.Signal(sig)
}
