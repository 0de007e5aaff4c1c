//go:build unix

package testredis

// Pid is the process id of the server.
func (s *Server) Pid() int { return s.process().pid() }

// DiesWithParent reports whether the system has a parent-death signal.
func DiesWithParent() bool { return dieWithParent() != nil }

// Claim takes the same hold on a port that a server has.
func (s *Server) Claim() error {
	_, err := claimPort(s.tb.Context(), s.port.number)
	return err
}
