package nixconf

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultDir is the directory of the system's configuration if NIX_CONF_DIR is not set.
const DefaultDir = "/etc/nix"

// Files returns the names of the configuration files in the order in which they are read. They depend on the
// variables NIX_CONF_DIR, NIX_USER_CONF_FILES, NIX_CONFIG_HOME, XDG_CONFIG_HOME, HOME and XDG_CONFIG_DIRS. An
// empty variable counts as unset.
func Files(getenv func(string) string) []string {
	users := userFiles(getenv)
	slices.Reverse(users) // the first file in userFiles has the highest priority
	return append([]string{filepath.Join(cmp.Or(getenv("NIX_CONF_DIR"), DefaultDir), "nix.conf")}, users...)
}

func userFiles(getenv func(string) string) []string {
	if files := getenv("NIX_USER_CONF_FILES"); files != "" {
		return filepath.SplitList(files)
	}
	var files []string
	home := getenv("NIX_CONFIG_HOME")
	if home == "" {
		if config := cmp.Or(getenv("XDG_CONFIG_HOME"), joinIfSet(getenv("HOME"), ".config")); config != "" {
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

// joinIfSet returns the path of name in dir, or "" if dir is "".
func joinIfSet(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// Load returns the configuration of this machine and user: the defaults, the files, and the variable
// NIX_CONFIG. Like Nix, it skips a file that does not exist or cannot be read. A file may be a pipe;
// reading ends with ctx. The error is a [*SyntaxError]
// for a line that is not an assignment. An invalid value is an error only when the setting is read; see
// [Reader].
func Load(ctx context.Context, getenv func(string) string) (*Conf, error) {
	c := FromVariables(getenv)
	for _, file := range Files(getenv) {
		text, err := read(ctx, file)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			if err := c.apply(ctx, text, file, FromFile); err != nil {
				return nil, err
			}
		}
	}
	if err := c.apply(ctx, getenv("NIX_CONFIG"), "NIX_CONFIG", FromEnvironment); err != nil {
		return nil, err
	}
	return c, nil
}
