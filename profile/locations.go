package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pix/internal/modes"
	"pix/storepath"
)

// Locations say where the profiles of a user are.
type Locations struct {
	StateDir string // of Nix, such as /nix/var/nix

	// Home is the home directory of the user. It is "" for the store of a program, which has its profiles in StateDir.
	Home string

	// StateHome is the directory for the state of the user's Nix: $NIX_STATE_HOME, $XDG_STATE_HOME/nix or ~/.local/state/nix.
	StateHome string

	User string // the name of the user
	Root bool   // whether the user is root
	XDG  bool   // the setting use-xdg-base-directories: the user's symlink is in StateHome
}

// UserLink returns the name of the symlink to the user's profile, ~/.nix-profile or profile in StateHome. It is "" if there
// is no home directory.
func (l *Locations) UserLink() string {
	switch {
	case l.Home == "":
		return ""
	case l.XDG:
		return filepath.Join(l.StateHome, "profile")
	}
	return filepath.Join(l.Home, ".nix-profile")
}

// Dir returns the directory of the user's own profiles. Before 2.14 Nix used profiles/per-user/USER in StateDir for all
// users; their UserLink still points there.
func (l *Locations) Dir() string {
	switch {
	case l.Root:
		return filepath.Join(l.shared(), "per-user/root")
	case l.Home == "":
		return filepath.Join(l.shared(), "per-user", l.User)
	}
	return filepath.Join(l.StateHome, "profiles")
}

// shared returns the directory of the profiles of the machine.
func (l *Locations) shared() string { return filepath.Join(l.StateDir, "profiles") }

// Default returns the user's default profile: the one to which UserLink points, or else the profile "profile" in Dir. It
// creates nothing.
func (l *Locations) Default(dir storepath.Dir) (*Profile, error) {
	if link := l.UserLink(); link != "" {
		if _, err := os.Lstat(link); err == nil {
			return Resolve(dir, link)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if l.Home == "" && l.User == "" && !l.Root {
		return nil, errors.New("there is no default profile, since the name of the user is not known: name a profile")
	}
	return New(dir, filepath.Join(l.Dir(), "profile"))
}

// CreateLinks creates UserLink if it does not exist, so that Nix and the user's shell find the default profile, and for
// root also profiles/default in StateDir, as Nix does. It does nothing if there is no home directory.
func (l *Locations) CreateLinks() error {
	if l.Home == "" {
		return nil
	}
	profile := filepath.Join(l.Dir(), "profile")
	links := []string{l.UserLink()}
	if l.Root {
		links = append(links, filepath.Join(l.shared(), "default"))
	}
	for _, link := range links {
		if err := modes.MkdirAll(filepath.Dir(link)); err != nil {
			return err
		}
		if err := os.Symlink(profile, link); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("creating the symlink to the default profile: %w", err)
		}
	}
	return nil
}

// Search returns the directories in which 'nix-collect-garbage -d' looks for profiles of the machine and the user.
func (l *Locations) Search() []string {
	if filepath.Dir(filepath.Dir(l.Dir())) == l.shared() {
		return []string{l.shared()}
	}
	return []string{l.shared(), l.Dir()}
}
