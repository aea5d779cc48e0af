#compdef synguard
# zsh completion for synguard; written by `make man`; do not edit

_synguard() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    'run:The agent in the foreground; dry-run unless told to enforce'
    'status:Health, mode, pressure, incidents'
    'top:All of it live\: pressure, sources, bans; ban and unban by key'
    'bans:What is banned now, until when, and what it stopped'
    'ban:Ban an address or prefix by hand'
    'unban:Lift a ban'
    'extend:Let bans last longer\: by a time, until a time, for good'
    'allow:Who is never banned\: add, remove, list'
    'import:Move in from csf, fail2ban, ddos-deflate, ufw, an ipset or nft'
    'review:What ends soon\: still hitting or quiet, and what to do about it'
    'report:What was banned or would have been, why, who was spared'
    'why:Everything known about one address'
    'enable:From dry-run to enforcing\: on trial, confirmed, or off'
    'connections:Who is connected, in which state, to what'
    'policy:Check, show, replay and suggest policies'
    'notify:Messages\: where they go, and a test of each'
    'fleet:The peers this host learns from and tells\: CrowdSec, BGP speakers'
    'upstream:Blackhole an own address upstream, and release it'
    'doctor:Whether this host can protect itself, and the fix where not'
    'panic:Stop enforcing and lift every ban, until you say it is over'
    'flush:Take everything of synguard'\''s out of the kernel; bans stay in the ledger'
    'completion:What makes the Tab key complete, for bash, zsh and fish'
  )
  _arguments -C \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '--debug[Show the traceback of an error; also SYNGUARD_DEBUG=1]' \
    '--version[Print the version]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1: :->verb' \
    '*:: :->rest'
  case $state in
    verb) _describe verb verbs ;;
    rest)
      case $words[1] in
        run) _synguard_run ;;
        status) _synguard_status ;;
        top) _synguard_top ;;
        bans) _synguard_bans ;;
        ban) _synguard_ban ;;
        unban) _synguard_unban ;;
        extend) _synguard_extend ;;
        allow) _synguard_allow ;;
        import) _synguard_import ;;
        review) _synguard_review ;;
        report) _synguard_report ;;
        why) _synguard_why ;;
        enable) _synguard_enable ;;
        connections) _synguard_connections ;;
        policy) _synguard_policy ;;
        notify) _synguard_notify ;;
        fleet) _synguard_fleet ;;
        upstream) _synguard_upstream ;;
        doctor) _synguard_doctor ;;
        panic) _synguard_panic ;;
        flush) _synguard_flush ;;
        completion) _synguard_completion ;;
      esac ;;
  esac
}

_synguard_run() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--dry-run[Report what would be banned; change nothing]' \
    '--enforce[Ban]' \
    '--for[Stop by itself after this long]:TIME:(30s 10m 1h 2h 1d)' \
    '--record[Write what sensors read, for policy replay]:FILE:_files' \
    '--record-limit[Stop recording at this size]:SIZE: ' \
    '--force[Replace the recording if it is there already]' \
    '--log-format[text, or json\: one object a line]:FORM: ' \
    '(--verbose -v)--verbose[Log more]' '(--verbose -v)-v[Log more]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_status() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_top() {
  _arguments -s \
    '--every[Look again so often]:TIME:(30s 10m 1h 2h 1d)' \
    '--count[Print so many snapshots instead; 0 until Ctrl-C]:N: ' \
    '--limit[Bans in a snapshot; 0 for all]:N: ' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_bans() {
  _arguments -s \
    '--expiring[Only those that end so soon]:TIME:(30s 10m 1h 2h 1d)' \
    '--all-ended[Also bans that have ended, see --since]' \
    '--since[With --all-ended\: begun since, 24h, 7d or yesterday]:WHEN: ' \
    '--target[Only those that share an address with it]:TARGET: ' \
    '--origin[Only those of the agent, or by hand (manual)]:auto|manual|crowdsec:(auto manual crowdsec)' \
    '--scope[Only those of this scope]:new|all:(new all)' \
    '--sort[Order of the rows; left is expires]:expires|left|created|packets|score|target:(expires left created packets score target)' \
    '--limit[Rows a page; 0 for all. Default 50 at a terminal, else all]:N: ' \
    '--page[Which page of --limit rows]:K: ' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_ban() {
  _arguments -s \
    '*--file[A list\: plain lines, columns, JSON, or ipset save]:LIST:_files' \
    '--for[How long\: 30s, 10m, 1h30m, 7d, or permanent]:TIME:(30s 10m 1h 2h 1d)' \
    '--scope[new\: new connections only; all\: every packet. Default all, with --ports new]:new|all:(new all)' \
    '--action[drop in silence; reject with a TCP reset; challenge\: answer SYNs with cookies; limit\: a few of them]:drop|reject|challenge|limit:(drop reject challenge limit)' \
    '--ports[Close only these local TCP ports]:80,443: ' \
    '--reason[Why, for those who read the report]:TEXT: ' \
    '--force[Also protected targets and very wide prefixes]' \
    '--skip-refused[Leave out targets that are refused, and say which]' \
    '--skip-faulty[Leave out lines of a list that cannot be used, and say which]' \
    '--dry-run[Show what it would hit, change nothing]' \
    '(--yes -y)--yes[Do not ask]' '(--yes -y)-y[Do not ask]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET: '
}

_synguard_unban() {
  _arguments -s \
    '*--file[A list\: plain lines, columns, JSON, or ipset save]:LIST:_files' \
    '--skip-faulty[Leave out lines of a list that cannot be used, and say which]' \
    '--all[Lift every ban, automatic ones too]' \
    '(--yes -y)--yes[Do not ask]' '(--yes -y)-y[Do not ask]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET:_synguard_targets'
}

_synguard_extend() {
  _arguments -s \
    '--for[Time to add\: 30m, 2h, 7d]:TIME:(30s 10m 1h 2h 1d)' \
    '--until[The new end\: "2026-12-01 08\:00", or with Z for UTC]:WHEN: ' \
    '--permanent[No end]' \
    '--force[No end also where the evidence against the target can be forged]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET: '
}

_synguard_allow() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    'add:Add addresses or prefixes to the allow-list'
    'remove:Take addresses or prefixes out of the allow-list'
    'list:List who is never banned'
  )
  _arguments -C \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1: :->verb' \
    '*:: :->rest'
  case $state in
    verb) _describe verb verbs ;;
    rest)
      case $words[1] in
        add) _synguard_allow_add ;;
        remove) _synguard_allow_remove ;;
        list) _synguard_allow_list ;;
      esac ;;
  esac
}

_synguard_allow_add() {
  _arguments -s \
    '--comment[Who that is, for those who read on]:TEXT: ' \
    '--for[Time until it ends\: 30m, 8h, 7d, or permanent]:TIME:(30s 10m 1h 2h 1d)' \
    '--force[Also prefixes wider than /8, or /32 for IPv6]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET: '
}

_synguard_allow_remove() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET: '
}

_synguard_allow_list() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_import() {
  _arguments -s \
    '--allow[Allow what the file names, instead of banning it]' \
    '--for[Length of bans that have no end there]:TIME:(30s 10m 1h 2h 1d)' \
    '--dry-run[Show what would be taken over, change nothing]' \
    '(--yes -y)--yes[Do not ask]' '(--yes -y)-y[Do not ask]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1:TOOL: ' \
    '1:FILE:_files'
}

_synguard_review() {
  _arguments -s \
    '--within[Bans that expire within TIME; any for all]:TIME:(30s 10m 1h 2h 1d)' \
    '--extend[Extend the selected bans by TIME]:TIME:(30s 10m 1h 2h 1d)' \
    '--still-hitting[With --extend\: only those that still hit]' \
    '--release[Lift them now]' \
    '--quiet[With --release\: only those unseen for so long]:TIME:(30s 10m 1h 2h 1d)' \
    '--apply-suggestions[Do what is suggested for each, after a yes]' \
    '--make-permanent[Only what is suggested to have no end, after a yes]' \
    '(--yes -y)--yes[Do not ask]' '(--yes -y)-y[Do not ask]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET: '
}

_synguard_report() {
  _arguments -s \
    '--since[24h, 7d, yesterday, or a time like 2026-12-01.  \[default\: 24h\]]:WHEN: ' \
    '--between[Until TO, not until now; written like --since]:FROM TO: ' \
    '--format[How it is written; else as FILE is called, else text]:text|json|html:(text json html)' \
    '(--output -o)--output[Write it here, not to the terminal; - for stdout]:FILE:_files' '(--output -o)-o[Write it here, not to the terminal; - for stdout]:FILE:_files' \
    '--send[Send it to the services of \[notify\]\: in words, and as a page by mail]' \
    '--force[Write over a file that is no report]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_why() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1:ADDRESS: '
}

_synguard_enable() {
  _arguments -s \
    '--confirm-within[On trial\: back to dry-run unless confirmed by then]:TIME:(30s 10m 1h 2h 1d)' \
    '--confirm[Keep what is on trial; from a new connection]' \
    '--off[Back to dry-run]' \
    '--force[Ignore failed preflight checks]' \
    '(--yes -y)--yes[Do not ask]' '(--yes -y)-y[Do not ask]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_connections() {
  _arguments -s \
    '--by[Count sockets by this]:source|prefix|port|state|process|remote:(source prefix port state process remote)' \
    '*--state[Only this TCP state; may be repeated]:STATE:(ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING)' \
    '*--port[Only these local ports\: 80,8000-8100]:PORT: ' \
    '--prefix-length[Of --by prefix; default 24,48]:N[,M]: ' \
    '--limit[Rows; 0 for all. Default 20, without --by 5]:N: ' \
    '--listening[What listens, and how full its queues are]' \
    '--udp[Count UDP sockets too]' \
    '--watch[Read again so often\: 1s]:TIME:(30s 10m 1h 2h 1d)' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_policy() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    'check:Check policy and config files and tell every fault at once'
    'show:Show the policies in effect with every value'
    'replay:Play a recording through the policies and show what they would have done'
    'suggest:Suggest limits for the policies in effect from recorded traffic'
    'example:Print an example config'
  )
  _arguments -C \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1: :->verb' \
    '*:: :->rest'
  case $state in
    verb) _describe verb verbs ;;
    rest)
      case $words[1] in
        check) _synguard_policy_check ;;
        show) _synguard_policy_show ;;
        replay) _synguard_policy_replay ;;
        suggest) _synguard_policy_suggest ;;
        example) _synguard_policy_example ;;
      esac ;;
  esac
}

_synguard_policy_check() {
  _arguments -s \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:FILE:_files'
}

_synguard_policy_show() {
  _arguments -s \
    '--policy[Only this policy]:NAME: ' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_policy_replay() {
  _arguments -s \
    '*--policy[Judge by this pack or policy file; may be given again]:PACK|FILE:{compadd bastion default mail proxied strict web; _files}' \
    '--seed[Seed of what is random, such as jitter]:N: ' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1:FILE:_files'
}

_synguard_policy_suggest() {
  _arguments -s \
    '(--output -o)--output[Write the pack here, not to stdout]:FILE:_files' '(--output -o)-o[Write the pack here, not to stdout]:FILE:_files' \
    '--margin[Stand this many times above what was seen]:NUMBER: ' \
    '--keep-incidents[Measure what looks like an attack too\: it was none]' \
    '--force[Replace the output file if it is there already]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:FILE:_files'
}

_synguard_policy_example() {
  _arguments -s \
    '--allow-list[An example of an allow-list file instead]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_notify() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    'test:Send a message that says it is a test to each service'
    'show:Show where messages go'
  )
  _arguments -C \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1: :->verb' \
    '*:: :->rest'
  case $state in
    verb) _describe verb verbs ;;
    rest)
      case $words[1] in
        test) _synguard_notify_test ;;
        show) _synguard_notify_show ;;
      esac ;;
  esac
}

_synguard_notify_test() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_notify_show() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_fleet() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_upstream() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    'blackhole:Ask the network upstream to drop ALL traffic to an address of this host'
    'release:End a blackhole'
    'show:Show the blackholes that are ordered'
  )
  _arguments -C \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1: :->verb' \
    '*:: :->rest'
  case $state in
    verb) _describe verb verbs ;;
    rest)
      case $words[1] in
        blackhole) _synguard_upstream_blackhole ;;
        release) _synguard_upstream_release ;;
        show) _synguard_upstream_show ;;
      esac ;;
  esac
}

_synguard_upstream_blackhole() {
  _arguments -s \
    '--for[Time until it ends, at most 1d]:TIME:(30s 10m 1h 2h 1d)' \
    '(--yes -y)--yes[Do not ask]' '(--yes -y)-y[Do not ask]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1:ADDRESS: '
}

_synguard_upstream_release() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1:ADDRESS: '
}

_synguard_upstream_show() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_doctor() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_panic() {
  _arguments -s \
    '--over[End it\: the config'\''s mode holds again]' \
    '(--yes -y)--yes[Do not ask]' '(--yes -y)-y[Do not ask]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_flush() {
  _arguments -s \
    '(--yes -y)--yes[Do not ask]' '(--yes -y)-y[Do not ask]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_completion() {
  _arguments -s \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1:SHELL:(bash zsh fish)'
}

_synguard_targets() {
  local -a targets
  targets=(${(f)"$(synguard completion --targets 2>/dev/null)"})
  compadd -a targets
}

if [ "$funcstack[1]" = "_synguard" ]; then
  _synguard "$@"
else
  compdef _synguard synguard
fi
