package store

import (
	"context"
	"time"

	"pix/storepath"
)

// An ActiveBuild is a build that runs now.
type ActiveBuild struct {
	Derivation storepath.Path
	Start      time.Time

	// PID is the first process of the builder, and User its user. Owner is the process that runs the build: a daemon or
	// a command. These are ids of the machine of the store; 0 is unknown.
	PID, Owner int
	User       User

	// ClientPID and ClientUID are the process and the user that requested the build, or nil if they are unknown.
	ClientPID, ClientUID *int

	// Cgroup is the directory of the cgroup of the build; "" for none.
	Cgroup string

	// Phase is the last phase that the builder has reported; "" for none. Only pix knows it.
	Phase string

	// Processes are the processes of the build. CPUUser and CPUSystem are the processor time of its cgroup; nil is
	// unknown.
	Processes          []ActiveProcess
	CPUUser, CPUSystem *time.Duration
}

// A User is a user of the machine of a store. Name is "" if the user has no account.
type User struct {
	UID  int
	Name string
}

// An ActiveProcess is a process of a build. The times are nil if they are unknown; ChildUser and ChildSystem are the
// times of its children that have ended.
type ActiveProcess struct {
	PID, Parent            int
	User                   User
	Args                   []string
	CPUUser, CPUSystem     *time.Duration
	ChildUser, ChildSystem *time.Duration
}

// CPU returns the processor time that a build has used. known is false if it cannot be determined.
func (b *ActiveBuild) CPU() (total time.Duration, known bool) {
	add := func(times ...*time.Duration) {
		for _, t := range times {
			if t != nil {
				total, known = total+*t, true
			}
		}
	}
	if add(b.CPUUser, b.CPUSystem); known {
		return total, known
	}
	for _, p := range b.Processes {
		add(p.CPUUser, p.CPUSystem, p.ChildUser, p.ChildSystem)
	}
	return total, known
}

// An ActiveBuildQuerier lists the builds of a store that run now, in this process and in others, in the order of
// their starts.
type ActiveBuildQuerier interface {
	QueryActiveBuilds(ctx context.Context) ([]ActiveBuild, error)
}

// QueryActiveBuilds returns the builds of s that run now; see [ActiveBuildQuerier].
func QueryActiveBuilds(ctx context.Context, s Store) ([]ActiveBuild, error) {
	if q, ok := As[ActiveBuildQuerier](s); ok {
		return q.QueryActiveBuilds(ctx)
	}
	return nil, unsupported(s, "list running builds")
}
