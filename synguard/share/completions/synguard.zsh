#compdef synguard
# zsh completion for synguard; written by `make man`; do not edit

_synguard() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    'run:Run the agent in the foreground; dry-run by default'
    'status:Show health, mode, pressure, incidents'
    'top:Watch pressure, sources and bans live; ban and unban by key'
    'bans:List active bans, their expiry, and what they stopped'
    'ban:Ban an address or prefix by hand'
    'unban:Remove a ban'
    'extend:Extend bans\: by a time, until a time, or without end'
    'allow:Manage the allow-list\: add, remove, list'
    'import:Import allow-lists and bans from csf, fail2ban, ufw and others'
    'review:Review bans that expire soon\: extend or remove each'
    'report:Report what was banned or would have been, and why'
    'why:Show everything known about one address'
    'enable:Switch from dry-run to enforcing\: on trial, confirmed, or off'
    'connections:Show connections by state, source or port'
    'policy:Check, show, replay and suggest policies'
    'notify:Show where messages go; send a test'
    'fleet:Show the peers of the fleet\: CrowdSec, BGP speakers'
    'upstream:Blackhole an address of this host upstream, or release it'
    'doctor:Check whether this host can protect itself; name each fix'
    'panic:Stop enforcing and remove every ban, until you end it'
    'flush:Remove everything of synguard from the kernel; bans stay in the ledger'
    'completion:Print the completion script for bash, zsh or fish'
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
    '--for[Stop after TIME]:TIME:(30s 10m 1h 2h 1d)' \
    '--record[Record what sensors read, for policy replay]:FILE:_files' \
    '--record-limit[Stop recording at this size]:SIZE: ' \
    '--force[Replace the recording if it is there already]' \
    '--log-format[Log format\: text, or json with one object a line]:FORM: ' \
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
    '--every[Refresh interval]:TIME:(30s 10m 1h 2h 1d)' \
    '--count[Print N snapshots instead; 0\: until Ctrl-C]:N: ' \
    '--limit[Bans in a snapshot; 0 for all]:N: ' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_bans() {
  _arguments -s \
    '--expiring[Only bans that expire within TIME]:TIME:(30s 10m 1h 2h 1d)' \
    '--all-ended[Also bans that have ended, of the last 24h; see --since]' \
    '--since[Bans made since, ended ones too\: 24h, 7d or yesterday.  \[default\: 24h\]]:WHEN: ' \
    '--target[Only bans that share an address with TARGET]:TARGET: ' \
    '--origin[Only bans of this origin; manual\: made by hand]:auto|manual|crowdsec:(auto manual crowdsec)' \
    '--scope[Only bans of this scope]:new|all:(new all)' \
    '--sort[Order of the rows; left is the same as expires]:expires|left|created|packets|score|target:(expires left created packets score target)' \
    '--limit[Rows on a page; 0 for all. Default 50 at a terminal, else all]:N: ' \
    '--page[Number of the page, of --limit rows each]:K: ' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_ban() {
  _arguments -s \
    '*--file[A list\: plain lines, columns, JSON, or ipset save]:LIST:_files' \
    '--for[Length of the ban\: 30s, 10m, 1h30m, 7d, or permanent]:TIME:(30s 10m 1h 2h 1d)' \
    '--scope[new\: new connections only; all\: every packet. Default all, with --ports new]:new|all:(new all)' \
    '--action[drop in silence; reject with a TCP reset; challenge\: answer SYNs with cookies; limit\: only a few]:drop|reject|challenge|limit:(drop reject challenge limit)' \
    '--ports[Only these local TCP ports]:80,443: ' \
    '--reason[Reason, shown in lists and reports]:TEXT: ' \
    '--force[Ban protected targets and very wide prefixes too]' \
    '--skip-refused[Leave out refused targets, and name them]' \
    '--skip-faulty[Leave out lines of a list that cannot be used, and name them]' \
    '--dry-run[Show what would be affected; change nothing]' \
    '(--yes -y)--yes[Do not ask for confirmation]' '(--yes -y)-y[Do not ask for confirmation]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET: '
}

_synguard_unban() {
  _arguments -s \
    '*--file[A list\: plain lines, columns, JSON, or ipset save]:LIST:_files' \
    '--skip-faulty[Leave out lines of a list that cannot be used, and name them]' \
    '--all[Remove every ban, automatic ones too]' \
    '(--yes -y)--yes[Do not ask for confirmation]' '(--yes -y)-y[Do not ask for confirmation]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET:_synguard_targets'
}

_synguard_extend() {
  _arguments -s \
    '--for[Extend by TIME\: 30m, 2h, 7d]:TIME:(30s 10m 1h 2h 1d)' \
    '--until[New end\: "2026-12-01 08\:00" in local time, or with Z for UTC]:WHEN: ' \
    '--permanent[Remove the end]' \
    '--force[Allow --permanent although the evidence can be forged]' \
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
    'remove:Remove addresses or prefixes from the allow-list'
    'resolve:Look host names up again that were added with --resolve'
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
        resolve) _synguard_allow_resolve ;;
        list) _synguard_allow_list ;;
      esac ;;
  esac
}

_synguard_allow_add() {
  _arguments -s \
    '--comment[Whose address it is, shown in lists]:TEXT: ' \
    '--for[Length of the entry\: 30m, 8h, 7d, or permanent]:TIME:(30s 10m 1h 2h 1d)' \
    '--resolve[Targets are host names; see synguard allow resolve]' \
    '--force[Allow prefixes wider than /8, or /32 for IPv6, too]' \
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

_synguard_allow_resolve() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_allow_list() {
  _arguments -s \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_import() {
  _arguments -s \
    '--allow[Add the addresses to the allow-list instead of banning them]' \
    '--for[Length of bans that have no end in that tool]:TIME:(30s 10m 1h 2h 1d)' \
    '--dry-run[Show what would be imported; change nothing]' \
    '(--yes -y)--yes[Do not ask for confirmation]' '(--yes -y)-y[Do not ask for confirmation]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1:TOOL: ' \
    '1:FILE:_files'
}

_synguard_review() {
  _arguments -s \
    '--within[Review bans that expire within TIME; any for all]:TIME:(30s 10m 1h 2h 1d)' \
    '--extend[Extend the selected bans by TIME]:TIME:(30s 10m 1h 2h 1d)' \
    '--still-hitting[With --extend\: only bans whose targets still hit]' \
    '--release[Remove the selected bans now]' \
    '--quiet[With --release\: only bans whose targets were quiet for TIME]:TIME:(30s 10m 1h 2h 1d)' \
    '--apply-suggestions[Apply what is suggested for each ban; asks first]' \
    '--make-permanent[Apply only the suggestions to remove the end; asks first]' \
    '(--yes -y)--yes[Do not ask for confirmation]' '(--yes -y)-y[Do not ask for confirmation]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:TARGET: '
}

_synguard_report() {
  _arguments -s \
    '--since[Report since WHEN\: 24h, 7d, yesterday, 2026-12-01.  \[default\: 24h\]]:WHEN: ' \
    '--between[Report from FROM to TO, each written like --since]:FROM TO: ' \
    '--format[Format; by default from the name of FILE, else text]:text|json|html:(text json html)' \
    '(--output -o)--output[Write to FILE; - for stdout]:FILE:_files' '(--output -o)-o[Write to FILE; - for stdout]:FILE:_files' \
    '--send[Send the report to the services of \[notify\]; as a page by mail]' \
    '--force[Overwrite a file that is no report]' \
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
    '--confirm-within[Enforce on trial\: go back to dry-run unless confirmed within TIME]:TIME:(30s 10m 1h 2h 1d)' \
    '--confirm[Confirm the trial, from a new SSH connection]' \
    '--off[Go back to dry-run]' \
    '--force[Ignore failed preflight checks]' \
    '(--yes -y)--yes[Do not ask for confirmation]' '(--yes -y)-y[Do not ask for confirmation]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_connections() {
  _arguments -s \
    '--by[Group sockets by this]:source|prefix|port|state|process|remote:(source prefix port state process remote)' \
    '*--state[Count only this TCP state; may be repeated]:STATE:(ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING)' \
    '*--port[Count only these local ports\: 80,8000-8100]:PORT: ' \
    '--prefix-length[Prefix lengths for --by prefix; default 24,48]:N[,M]: ' \
    '--limit[Number of rows; 0 for all. Default 20; without --by 5]:N: ' \
    '--listening[Show listeners, and how full their queues are]' \
    '--udp[Count UDP sockets too]' \
    '--watch[Refresh interval\: 1s]:TIME:(30s 10m 1h 2h 1d)' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_policy() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    'check:Check policy and config files'
    'show:Show the policies in effect with every value'
    'replay:Show what the policies would have done with recorded traffic'
    'suggest:Suggest limits from recorded traffic'
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
    '*--policy[Replay with this pack or policy file; may be repeated]:PACK|FILE:{compadd bastion default mail proxied strict web; _files}' \
    '--seed[Seed of random values, such as jitter]:N: ' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '1:FILE:_files'
}

_synguard_policy_suggest() {
  _arguments -s \
    '(--output -o)--output[Write the pack to FILE instead of stdout]:FILE:_files' '(--output -o)-o[Write the pack to FILE instead of stdout]:FILE:_files' \
    '--margin[Set limits to NUMBER times what was seen]:NUMBER: ' \
    '--keep-incidents[Measure incidents too\: they were no attacks]' \
    '--force[Replace the output file if it is there already]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]' \
    '*:FILE:_files'
}

_synguard_policy_example() {
  _arguments -s \
    '--allow-list[Print an example of an allow-list file instead]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_notify() {
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
    'test:Send a test message to each service'
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
    '--for[Length of the blackhole, at most 1d]:TIME:(30s 10m 1h 2h 1d)' \
    '(--yes -y)--yes[Do not ask for confirmation]' '(--yes -y)-y[Do not ask for confirmation]' \
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
    '--over[End the panic\: go back to the mode of the config]' \
    '(--yes -y)--yes[Do not ask for confirmation]' '(--yes -y)-y[Do not ask for confirmation]' \
    '--config[Config file; else SYNGUARD_CONFIG, else the default]:FILE:_files' \
    '--json[Print JSON]' \
    '(-h --help)-h[Show the help]' '(-h --help)--help[Show the help]'
}

_synguard_flush() {
  _arguments -s \
    '(--yes -y)--yes[Do not ask for confirmation]' '(--yes -y)-y[Do not ask for confirmation]' \
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
