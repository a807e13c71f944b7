package builder

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// accounts are the users and groups of this machine. They are read from the files passwd and group. Nix
// also asks directory services, which only the C library knows.
type accounts struct {
	users  map[string]account
	groups map[string]group
}

type account struct{ uid, gid int }

type group struct {
	gid     int
	members []string
}

func readAccounts(etc string) (*accounts, error) {
	a := &accounts{users: map[string]account{}, groups: map[string]group{}}
	err := readFields(filepath.Join(etc, "passwd"), 4, func(f []string) {
		uid, err1 := strconv.Atoi(f[2])
		gid, err2 := strconv.Atoi(f[3])
		if _, twice := a.users[f[0]]; err1 == nil && err2 == nil && !twice {
			a.users[f[0]] = account{uid, gid}
		}
	})
	if err != nil {
		return nil, err
	}
	err = readFields(filepath.Join(etc, "group"), 4, func(f []string) {
		gid, err := strconv.Atoi(f[2])
		if _, twice := a.groups[f[0]]; err == nil && !twice {
			members := strings.FieldsFunc(f[3], func(c rune) bool { return c == ',' })
			a.groups[f[0]] = group{gid, members}
		}
	})
	return a, err
}

// readFields calls line with the fields of each line that has at least least fields. A missing file counts as empty.
func readFields(file string, least int, line func(fields []string)) error {
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for s := range strings.Lines(string(text)) {
		if fields := strings.Split(strings.TrimSuffix(s, "\n"), ":"); len(fields) >= least {
			line(fields)
		}
	}
	return nil
}

// otherGroups returns the groups of a user, sorted, except the group without.
func (a *accounts) otherGroups(name string, user account, without int) []int {
	all := []int{user.gid}
	for _, g := range a.groups {
		if slices.Contains(g.members, name) {
			all = append(all, g.gid)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(gid int) bool { return gid == without })
}
