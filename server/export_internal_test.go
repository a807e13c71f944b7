package server

import "testing"

// CheckReleased checks that a server without connections holds no resources.
func (s *Server) CheckReleased(t *testing.T) {
	t.Helper()
	for _, b := range s.memory.budgets() {
		checkEmptyBudget(t, b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.served != 0 || s.untrusted != 0 || len(s.users) != 0 || len(s.conns) != 0 {
		t.Errorf("%d served, %d untrusted, %d users, %d connections are left", s.served, s.untrusted, len(s.users), len(s.conns))
	}
}
