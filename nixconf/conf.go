package nixconf

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Conf is a configuration: the settings that pix implements. Their names in nix.conf are
// those of the fields, in lower case and with dashes.
type Conf struct {
	// TrustedUsers may do whatever the store can, and AllowedUsers connect to the daemon:
	// names of users, and of groups with @ before them; * is everybody.
	TrustedUsers []string
	AllowedUsers []string

	// BuildUsersGroup is the group of those that builds run as, who may not connect to the
	// daemon; "" is none.
	BuildUsersGroup string

	// TrustedPublicKeys are those whose signatures are believed, as NAME:BASE64.
	TrustedPublicKeys []string

	// RequireSigs says that objects which are not addressed by their contents need a
	// signature by one of the keys.
	RequireSigs bool

	// Substituters are the URIs of stores from which another gets what it lacks, if Substitute
	// says so. There are none by default, where Nix has that of its project: nothing here goes to
	// the network unasked.
	Substituters []string
	Substitute   bool

	// TrustedSubstituters are those that users may choose who are not trusted, besides
	// Substituters.
	TrustedSubstituters []string

	// Fallback says that a substituter which fails is as good as none.
	Fallback bool

	// NetrcFile is the file with logins and passwords for caches; "" is the file netrc in the
	// directory of the system's nix.conf.
	NetrcFile string

	// KeepOutputs and KeepDerivations say that a derivation that is kept keeps its outputs,
	// and an output the derivation that it was built from.
	KeepOutputs     bool
	KeepDerivations bool

	// AutoOptimiseStore says that equal files of new objects become one.
	AutoOptimiseStore bool

	// MinFree is how many bytes of disk shall be free: if there are fewer when something is
	// added, garbage is collected until MaxFree are. 0 is never. It is looked at most every
	// MinFreeCheckInterval seconds.
	MinFree, MaxFree     uint64
	MinFreeCheckInterval uint64

	// GCReservedSpace is how many bytes are set aside, for the database of a full disk.
	GCReservedSpace uint64

	// FsyncMetadata brings the database to the disk before something counts as done, and
	// FsyncStorePaths objects before they become valid.
	FsyncMetadata   bool
	FsyncStorePaths bool

	// UseSQLiteWAL gives the database a write-ahead log. Without one it can be on a network file system.
	UseSQLiteWAL bool

	// Store is the URI of the store; "" if it is not set: then the variable NIX_REMOTE says it.
	Store string

	// Unknown are the names that were set and are none of the above, sorted.
	Unknown []string
}

// Default returns the configuration of Nix where nothing is set, but for its substituter. The
// group of the build users is that of root's daemons.
func Default() *Conf {
	return &Conf{
		TrustedUsers:      []string{"root"},
		AllowedUsers:      []string{"*"},
		BuildUsersGroup:   "nixbld",
		TrustedPublicKeys: []string{"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="},
		RequireSigs:       true,
		Substitute:        true,
		KeepDerivations:   true,

		MaxFree:              math.MaxInt64,
		MinFreeCheckInterval: 5,
		GCReservedSpace:      8 << 20,
		FsyncMetadata:        true,
		UseSQLiteWAL:         true,
	}
}

// field returns a pointer to the setting of that name, or nil.
func (c *Conf) field(name string) any {
	switch name {
	case "trusted-users":
		return &c.TrustedUsers
	case "allowed-users":
		return &c.AllowedUsers
	case "build-users-group":
		return &c.BuildUsersGroup
	case "trusted-public-keys", "binary-cache-public-keys":
		return &c.TrustedPublicKeys
	case "require-sigs":
		return &c.RequireSigs
	case "substituters", "binary-caches":
		return &c.Substituters
	case "substitute", "build-use-substitutes":
		return &c.Substitute
	case "trusted-substituters", "trusted-binary-caches":
		return &c.TrustedSubstituters
	case "fallback", "build-fallback":
		return &c.Fallback
	case "netrc-file":
		return &c.NetrcFile
	case "keep-outputs", "gc-keep-outputs":
		return &c.KeepOutputs
	case "keep-derivations", "gc-keep-derivations":
		return &c.KeepDerivations
	case "auto-optimise-store":
		return &c.AutoOptimiseStore
	case "min-free":
		return &c.MinFree
	case "max-free":
		return &c.MaxFree
	case "min-free-check-interval":
		return &c.MinFreeCheckInterval
	case "gc-reserved-space":
		return &c.GCReservedSpace
	case "fsync-metadata":
		return &c.FsyncMetadata
	case "fsync-store-paths":
		return &c.FsyncStorePaths
	case "use-sqlite-wal":
		return &c.UseSQLiteWAL
	case "store":
		return &c.Store
	}
	return nil
}

// Set sets what a line of a file sets. A name that is unknown is noted, and no error.
func (c *Conf) Set(a Assignment) error {
	name, adds := strings.CutPrefix(a.Name, "extra-")
	switch field := c.field(name).(type) {
	case *[]string:
		words := strings.FieldsFunc(a.Value, isSpace)
		if adds {
			words = slices.Concat(*field, words)
		}
		*field = words
		return nil
	case *string:
		if !adds {
			*field = a.Value
			return nil
		}
	case *bool:
		if !adds {
			return setBool(field, a)
		}
	case *uint64:
		if !adds {
			return setNumber(field, a)
		}
	}
	if i, found := slices.BinarySearch(c.Unknown, a.Name); !found {
		c.Unknown = slices.Insert(c.Unknown, i, a.Name)
	}
	return nil
}

// setNumber takes a number with a unit, be it one of bytes or of seconds, as Nix does.
func setNumber(n *uint64, a Assignment) (err error) {
	if *n, err = ParseSize(a.Value); err != nil {
		return &SyntaxError{a.File, a.Line, fmt.Sprintf("setting '%s' has invalid value '%s'", a.Name, a.Value)}
	}
	return nil
}

func setBool(b *bool, a Assignment) error {
	switch a.Value {
	case "true", "yes", "1":
		*b = true
	case "false", "no", "0":
		*b = false
	default:
		return &SyntaxError{a.File, a.Line, fmt.Sprintf("Boolean setting '%s' has invalid value '%s'", a.Name, a.Value)}
	}
	return nil
}
