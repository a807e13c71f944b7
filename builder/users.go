package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/internal/modes"
)

// Build users keep builders from reading and changing what belongs to other users, and keep two builds apart. Root
// takes a user for each build: a member of a group, or ids that need no accounts. A user in use has a locked file in
// the state directory of the store. Nix locks the same files, so pix and Nix can share the users. Two stores have
// different state directories, and their builds would kill each other's processes. So a second lock file is shared by
// all stores of the machine.

// uidsPerSlot is the largest number of ids of a build, and the distance between the first ids of two builds.
const uidsPerSlot = 65536

const (
	defaultStartID = 0x34000000
	defaultIDCount = 128 * uidsPerSlot
)

// A userLock is a build user that this build has locked.
type userLock struct {
	ids
	groups []int // supplementary groups, which a builder without a sandbox keeps
	files  []*os.File
}

// release gives the user to other builds. Its processes must be gone.
func (u *userLock) release() error {
	if u == nil {
		return nil
	}
	return closeAll(u.files)
}

func closeAll(files []*os.File) error {
	var errs error
	for _, f := range files {
		errs = errors.Join(errs, f.Close())
	}
	return errs
}

// machineUsers is the directory with the lock files of build users for all stores of this machine.
const machineUsers = "/run/pix/build-users"

// lockUser takes the locks of a build user: a file of the store and, if possible, a file of the machine. It returns
// nil if another build holds one of them.
func (b *build) lockUser(name string, uid int) ([]*os.File, error) {
	names := []string{name}
	dir := cmp.Or(b.opts.machineUsers, machineUsers)
	if err := modes.MkdirAll(dir); err == nil { // else /run is read-only: only the builds of this store are kept apart
		names = append(names, filepath.Join(dir, strconv.Itoa(uid)))
	}
	var files []*os.File
	for _, name := range names {
		file, err := lockUser(name)
		if err != nil || file == nil {
			return nil, errors.Join(err, closeAll(files))
		}
		files = append(files, file)
	}
	return files, nil
}

// takeUser waits for a build user, and takes it.
func (b *build) takeUser(ctx context.Context) error {
	if b.users == sourceSelf {
		return nil
	}
	user, err := b.tryUser()
	if err != nil || user != nil {
		b.user = user
		return err
	}
	waiting := activity.Start{
		ID: activity.NewID(), Level: activity.LevelWarn, Type: activity.BuildWaiting,
		Text: fmt.Sprintf("waiting for a free build user ID for '%s'", b.req.Path),
	}
	b.handler.HandleEvent(waiting)
	defer b.handler.HandleEvent(activity.Stop{ID: waiting.ID})
	for b.user == nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(b.opts.pollInterval()):
		}
		if b.user, err = b.tryUser(); err != nil {
			return err
		}
	}
	return nil
}

// shareStoreDir lets the group of build users make files in the store directory, where a builder without a sandbox
// puts its outputs. The sticky bit keeps it from removing others. Nix does that when it opens a store.
func (b *build) shareStoreDir() error {
	if b.user == nil || b.sandboxed {
		return nil
	}
	dir := b.ownStoreDir()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	const mode = 0o775 | unix.S_ISVTX
	if int(st.Gid) == b.user.gid && st.Mode&0o7777 == mode {
		return nil
	}
	if err := os.Chown(dir, -1, b.user.gid); err != nil {
		return err
	}
	return os.Chmod(dir, 0o775|fs.ModeSticky)
}

// tryUser takes a free build user, or returns nil.
func (b *build) tryUser() (*userLock, error) {
	if b.users == sourceIDs {
		return b.tryAutomaticUser()
	}
	return b.tryMember()
}

// tryMember takes a member of the group of build users.
func (b *build) tryMember() (*userLock, error) {
	pool := filepath.Join(b.store.StateDir(), "userpool")
	if err := modes.MkdirAll(pool); err != nil {
		return nil, err
	}
	accounts, err := readAccounts(b.opts.accountsDir())
	if err != nil {
		return nil, err
	}
	name := b.opts.usersGroup()
	group, ok := accounts.groups[name]
	if !ok {
		return nil, fmt.Errorf("the group '%s' specified in 'build-users-group' does not exist", name)
	}
	if len(group.members) == 0 {
		return nil, fmt.Errorf("the build users group '%s' has no members", name)
	}
	for _, member := range group.members {
		account, ok := accounts.users[member]
		if !ok {
			return nil, fmt.Errorf("the user '%s' in the group '%s' does not exist", member, name)
		}
		if account.uid == os.Getuid() || account.uid == os.Geteuid() {
			return nil, fmt.Errorf("the Nix user should not be a member of '%s'", name)
		}
		files, err := b.lockUser(filepath.Join(pool, strconv.Itoa(account.uid)), account.uid)
		if err != nil {
			return nil, err
		}
		if files != nil {
			return &userLock{ids{account.uid, group.gid, 1}, accounts.otherGroups(member, account, group.gid), files}, nil
		}
	}
	return nil, nil
}

// tryAutomaticUser takes ids that have no account.
func (b *build) tryAutomaticUser() (*userLock, error) {
	pool := filepath.Join(b.store.StateDir(), "userpool2")
	if err := modes.MkdirAll(pool); err != nil {
		return nil, err
	}
	first, count := b.opts.idRange()
	for slot := range int(count / uidsPerSlot) {
		id := int(first) + slot*uidsPerSlot
		files, err := b.lockUser(filepath.Join(pool, fmt.Sprintf("slot-%d", slot)), id)
		if err != nil {
			return nil, err
		}
		if files == nil {
			continue
		}
		user := &userLock{ids{id, id, 1}, nil, files}
		if err := b.checkAutomaticUser(user); err != nil {
			return nil, errors.Join(err, user.release())
		}
		return user, nil
	}
	return nil, nil
}

// checkAutomaticUser returns an error if an account has the id. It sets the group and the number of ids of the user.
func (b *build) checkAutomaticUser(user *userLock) error {
	accounts, err := readAccounts(b.opts.accountsDir())
	if err != nil {
		return err
	}
	for name, account := range accounts.users {
		if account.uid == user.uid {
			return fmt.Errorf("auto-allocated UID %d clashes with existing user account '%s'", user.uid, name)
		}
	}
	if b.uidRange() {
		user.count = uidsPerSlot
	}
	if b.sandboxed {
		return nil
	}
	name := b.opts.usersGroup()
	group, ok := accounts.groups[name]
	if !ok {
		return fmt.Errorf("the group '%s' specified in 'build-users-group' does not exist", name)
	}
	user.gid = group.gid
	return nil
}

func (o *Options) idRange() (first, count uint32) {
	first, count = o.StartID, o.IDCount
	if first == 0 {
		first = defaultStartID
	}
	if count == 0 {
		count = defaultIDCount
	}
	return first, count
}

// accountsDir returns the directory with the files of users and groups.
func (o *Options) accountsDir() string { return cmp.Or(o.etc, "/etc") }

func (o *Options) pollInterval() time.Duration {
	if o.PollInterval > 0 {
		return o.PollInterval
	}
	return 5 * time.Second
}
