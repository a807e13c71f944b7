package protocol

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// A Version is a version of the protocol: major<<8 | minor. 293 is 1.37.
type Version uint16

const (
	// MinVersion is the oldest version that is spoken: 1.18, of Nix 2.0, as in Nix
	// itself.
	MinVersion = Version(1<<8 | 18)
	// MaxVersion is the newest version that is spoken: 1.38, of Nix 2.26 and later.
	// What came after it are features.
	MaxVersion = Version(1<<8 | 38)
)

// MakeVersion returns version 1.minor.
func MakeVersion(minor uint8) Version { return Version(1<<8) | Version(minor) }

// Major returns the major version; it is 1 in every daemon in use.
func (v Version) Major() int { return int(v >> 8) }

// Minor returns the minor version.
func (v Version) Minor() int { return int(v & 0xff) }

// String returns major and minor with a dot between, such as "1.37".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major(), v.Minor()) }

// Features is a set of the features of this package. The zero value is empty.
type Features uint8

// The features of Nix 2.36, and two of Determinate Nix 3.22. They are negotiated from 1.38 on.
const (
	// RealisationWithPath is "realisation-with-path-not-hash": realisations are keyed
	// by derivation and output, and are no longer JSON.
	RealisationWithPath Features = 1 << iota
	// DeleteDeadSpecificReferrers is "delete-dead-specific-referrers": garbage can be
	// collected among given paths and what refers to them.
	DeleteDeadSpecificReferrers
	// NoSetOptions is "disable-set-options": there is no [SetOptions].
	NoSetOptions
	// Scanning is "add-to-store-scanning": there is [AddToStoreScanning].
	Scanning
	// OutputSubmission is "submit-output": there is [SubmitOutput].
	OutputSubmission
	// TempRoots is "addTempRoots": there is [AddTempRoots]. Clients of Determinate Nix make no
	// temporary roots without it.
	TempRoots
	// PathInfos is "queryPathInfos": there is [QueryPathInfos].
	PathInfos
	numFeatures = iota
)

const (
	// AllFeatures are those that daemons have for everybody.
	AllFeatures = RealisationWithPath | DeleteDeadSpecificReferrers | TempRoots | PathInfos
	// BuildFeatures are those that only the daemon has that a build can talk to.
	BuildFeatures = NoSetOptions | Scanning | OutputSubmission
)

var featureNames = [numFeatures]string{
	"realisation-with-path-not-hash", "delete-dead-specific-referrers",
	"disable-set-options", "add-to-store-scanning", "submit-output",
	"addTempRoots", "queryPathInfos",
}

// Has reports whether all of g are in f.
func (f Features) Has(g Features) bool { return f&g == g }

// Names returns the names on the wire, sorted.
func (f Features) Names() []string {
	var names []string
	for i, name := range featureNames {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// String returns the names with spaces between.
func (f Features) String() string { return strings.Join(f.Names(), " ") }

// featuresOf returns the set of those names that are known; others are passed over.
func featuresOf(names []string) (f Features) {
	for _, name := range names {
		for i, known := range featureNames {
			if name == known {
				f |= 1 << i
			}
		}
	}
	return f
}

// Params are what both sides agreed on, and the store directory. All encoding and
// decoding depends on them.
type Params struct {
	Version  Version
	Features Features
	Dir      storepath.Dir
}
