package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"pix/storepath"
)

// The JSON of active builds is the one of Determinate Nix, which has the operation QueryActiveBuilds, with the member
// phase in addition.
//
// Source: src/libstore/active-builds.cc in Determinate Nix.

type activeBuildJSON struct {
	Type       string              `json:"type"`
	Derivation string              `json:"derivation"` // the base name
	StartTime  float64             `json:"startTime"`  // seconds since 1970
	NixPID     int                 `json:"nixPid"`
	MainPID    int                 `json:"mainPid"`
	MainUser   userJSON            `json:"mainUser"`
	ClientPID  *int                `json:"clientPid"`
	ClientUID  *int                `json:"clientUid"`
	Cgroup     *string             `json:"cgroup"`
	Phase      *string             `json:"phase,omitempty"`
	Processes  []activeProcessJSON `json:"processes"`
	UTime      *seconds            `json:"utime"`
	STime      *seconds            `json:"stime"`
}

type userJSON struct {
	UID  int     `json:"uid"`
	Name *string `json:"name"`
}

type activeProcessJSON struct {
	PID       int      `json:"pid"`
	ParentPID int      `json:"parentPid"`
	User      userJSON `json:"user"`
	Argv      []string `json:"argv"`
	UTime     *seconds `json:"utime"`
	STime     *seconds `json:"stime"`
	CUTime    *seconds `json:"cutime"`
	CSTime    *seconds `json:"cstime"`
}

// seconds is a duration as a number of seconds.
type seconds float64

func secondsOf(d *time.Duration) *seconds {
	if d == nil {
		return nil
	}
	s := seconds(d.Seconds())
	return &s
}

// maxSeconds is more than the processor time of any build.
const maxSeconds = 1 << 32

func (s *seconds) duration() (*time.Duration, error) {
	if s == nil {
		return nil, nil
	}
	if math.IsNaN(float64(*s)) || *s < 0 || *s > maxSeconds {
		return nil, fmt.Errorf("%v is no number of seconds", float64(*s))
	}
	d := time.Duration(float64(*s) * float64(time.Second))
	return &d, nil
}

// MarshalJSON returns the build as Determinate Nix sends it.
func (b ActiveBuild) MarshalJSON() ([]byte, error) {
	j := activeBuildJSON{
		Type: "build", Derivation: b.Derivation.Base(), StartTime: float64(b.Start.Unix()),
		NixPID: b.Owner, MainPID: b.PID, MainUser: b.User.json(), ClientPID: b.ClientPID, ClientUID: b.ClientUID,
		Cgroup: textOrNil(b.Cgroup), Phase: textOrNil(b.Phase), UTime: secondsOf(b.CPUUser), STime: secondsOf(b.CPUSystem),
		Processes: make([]activeProcessJSON, len(b.Processes)),
	}
	for i, p := range b.Processes {
		j.Processes[i] = activeProcessJSON{
			PID: p.PID, ParentPID: p.Parent, User: p.User.json(), Argv: append([]string{}, p.Args...),
			UTime: secondsOf(p.CPUUser), STime: secondsOf(p.CPUSystem), CUTime: secondsOf(p.ChildUser), CSTime: secondsOf(p.ChildSystem),
		}
	}
	return json.Marshal(j)
}

func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (u User) json() userJSON { return userJSON{u.UID, textOrNil(u.Name)} }

// ParseActiveBuildJSON parses one active build of a store with this store directory.
func ParseActiveBuildJSON(dir storepath.Dir, text []byte) (*ActiveBuild, error) {
	var j activeBuildJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, err
	}
	return j.build(dir)
}

// maxActiveObjects is the largest number of objects in a list of active builds. An object in memory is up to a hundred
// times as large as its text, so the size of the text is no sufficient limit.
const maxActiveObjects = 1 << 17

// ParseActiveBuildsJSON parses the reply of a daemon: a list of active builds.
func ParseActiveBuildsJSON(dir storepath.Dir, text []byte) ([]ActiveBuild, error) {
	if bytes.Count(text, []byte("{")) > maxActiveObjects {
		return nil, errors.New("the list of active builds is too long")
	}
	var list []activeBuildJSON
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	builds := make([]ActiveBuild, len(list))
	for i := range list {
		b, err := list[i].build(dir)
		if err != nil {
			return nil, fmt.Errorf("active build %d: %w", i, err)
		}
		builds[i] = *b
	}
	return builds, nil
}

func (j *activeBuildJSON) build(dir storepath.Dir) (*ActiveBuild, error) {
	if j.Type != "build" {
		return nil, fmt.Errorf("the type is %q instead of \"build\"", j.Type)
	}
	drv, err := dir.ParseBase(j.Derivation)
	if err != nil {
		return nil, err
	}
	const maxTime = 1 << 40
	if !(math.Abs(j.StartTime) < maxTime) {
		return nil, errors.New("the start is no time")
	}
	b := &ActiveBuild{
		Derivation: drv, Start: time.Unix(int64(j.StartTime), 0),
		Owner: j.NixPID, PID: j.MainPID, User: j.MainUser.user(), ClientPID: j.ClientPID, ClientUID: j.ClientUID,
		Cgroup: textOf(j.Cgroup), Phase: textOf(j.Phase),
	}
	if err := readSeconds([]*seconds{j.UTime, j.STime}, &b.CPUUser, &b.CPUSystem); err != nil {
		return nil, err
	}
	for _, p := range j.Processes {
		process := ActiveProcess{PID: p.PID, Parent: p.ParentPID, User: p.User.user(), Args: p.Argv}
		err := readSeconds([]*seconds{p.UTime, p.STime, p.CUTime, p.CSTime}, &process.CPUUser, &process.CPUSystem, &process.ChildUser, &process.ChildSystem)
		if err != nil {
			return nil, err
		}
		b.Processes = append(b.Processes, process)
	}
	return b, nil
}

func readSeconds(from []*seconds, to ...**time.Duration) (err error) {
	for i, s := range from {
		if *to[i], err = s.duration(); err != nil {
			return err
		}
	}
	return nil
}

func (u userJSON) user() User { return User{u.UID, textOf(u.Name)} }
