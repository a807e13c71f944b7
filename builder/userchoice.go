package builder

import (
	"cmp"
	"fmt"
	"os"
	"strings"
)

// A userSource says as which users builds run.
type userSource int

const (
	sourceSelf  userSource = iota // as the user of this process
	sourceGroup                   // as members of a group
	sourceIDs                     // as ids without accounts
)

// defaultUsersGroup is the group that installers of Nix create.
const defaultUsersGroup = "nixbld"

// usersGroup returns the name of the group of build users.
func (o *Options) usersGroup() string { return cmp.Or(o.BuildUsersGroup, defaultUsersGroup) }

// chooseUsers returns as which users builds run, with or without a sandbox. The command, the daemon and programs that use
// the library all get the same answer for the same options: builds of root are not root unless the options say so.
func (o *Options) chooseUsers(sandboxed bool) (userSource, error) {
	switch {
	case os.Geteuid() != 0:
		return sourceSelf, nil
	case o.AutoAllocateUIDs:
		return sourceIDs, nil
	case o.BuildUsersGroup != "":
		return sourceGroup, nil
	case o.AsRoot:
		return sourceSelf, nil
	}
	accounts, err := readAccounts(o.accountsDir())
	if err != nil {
		return sourceSelf, err
	}
	first, _ := o.idRange()
	if _, ok := accounts.groups[defaultUsersGroup]; ok {
		return sourceGroup, nil
	} else if sandboxed && namespaceHasUser(first) {
		return sourceIDs, nil
	}
	return sourceSelf, nil
}

// namespaceHasUser reports whether the user namespace of this process has a user. In a container without root there are no
// users except its own.
func namespaceHasUser(id uint32) bool {
	ranges, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true // not Linux
	}
	for line := range strings.Lines(string(ranges)) {
		var first, outside, count uint64
		if n, err := fmt.Sscan(line, &first, &outside, &count); n == 3 && err == nil && uint64(id) >= first && uint64(id)-first < count {
			return true
		}
	}
	return false
}
