package nixconf

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultDir is where the configuration of the system is, unless NIX_CONF_DIR says
// otherwise.
const DefaultDir = "/etc/nix"

// Files returns the names of the files that are read, in this order. They follow from the
// variables NIX_CONF_DIR, NIX_USER_CONF_FILES, NIX_CONFIG_HOME, XDG_CONFIG_HOME, HOME and
// XDG_CONFIG_DIRS of an environment. A variable that is set to nothing is taken for unset.
func Files(getenv func(string) string) []string {
	users := userFiles(getenv)
	slices.Reverse(users) // the first has the last word
	return append([]string{filepath.Join(cmp.Or(getenv("NIX_CONF_DIR"), DefaultDir), "nix.conf")}, users...)
}

func userFiles(getenv func(string) string) []string {
	if files := getenv("NIX_USER_CONF_FILES"); files != "" {
		return filepath.SplitList(files)
	}
	var files []string
	home := getenv("NIX_CONFIG_HOME")
	if home == "" {
		if config := cmp.Or(getenv("XDG_CONFIG_HOME"), under(getenv("HOME"), ".config")); config != "" {
			home = filepath.Join(config, "nix")
		}
	}
	if home != "" {
		files = append(files, filepath.Join(home, "nix.conf"))
	}
	for dir := range strings.SplitSeq(cmp.Or(getenv("XDG_CONFIG_DIRS"), "/etc/xdg"), ":") {
		if dir != "" {
			files = append(files, filepath.Join(dir, "nix", "nix.conf"))
		}
	}
	return files
}

// under returns a name in a directory, if there is one.
func under(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// Load returns the configuration of this machine and user: the defaults, then the files, then the
// variable NIX_CONFIG. It skips a file that does not exist or that it cannot read, as Nix does. The error is a
// [*SyntaxError] for a line that is no setting; an invalid value is an error only when the setting is read:
// see [Reader].
func Load(getenv func(string) string) (*Conf, error) {
	c := FromVariables(getenv)
	for _, file := range Files(getenv) {
		if text, err := read(file); err == nil {
			if err := c.apply(text, file, FromFile); err != nil {
				return nil, err
			}
		}
	}
	if err := c.apply(getenv("NIX_CONFIG"), "NIX_CONFIG", FromEnvironment); err != nil {
		return nil, err
	}
	return c, nil
}
