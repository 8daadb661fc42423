;; Traps on a subject with a label `trap`; everything else goes direct, reason Fine. The host must keep the last good
;; answer of that one row, marked degraded, and decide the rest.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (local $read i32)
  (local.set $read (call $new (global.get $read:size)))
  (i32.store8 (i32.add (local.get $read) (global.get $read.at)) (global.get $source=subject-label))
  (call $put-list (i32.add (local.get $read) (global.get $read.key)) (i32.const 4096) (i32.const 4))
  (call $described (local.get $read) (i32.const 1) (global.get $reach=referenced)))
(data (i32.const 4096) "trap")

(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (local $labels i32) (local $left i32)
  (local.set $labels (call $subject (local.get $batch) (local.get $index)))
  ;; Where the option is none, its payload means nothing.
  (if (i32.load8_u (i32.add (local.get $labels) (global.get $subject.labels)))
    (then
      (local.set $labels (i32.add (local.get $labels) (global.get $subject.labels:payload)))
      (local.set $left (i32.load offset=4 (local.get $labels)))
      (local.set $labels (i32.load (local.get $labels)))
      (block $done
        (loop $next
          (br_if $done (i32.eqz (local.get $left)))
          (if (call $is-trap (i32.add (local.get $labels) (global.get $pair.key)))
            (then unreachable))
          (local.set $labels (i32.add (local.get $labels) (global.get $pair:size)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $next)))))
  (call $put-choice (local.get $decision) (global.get $choice=direct))
  (call $put-reason (local.get $decision) (i32.const 4100) (i32.const 4)))
(data (i32.const 4100) "Fine")

;; Whether the string is the four bytes of "trap", compared as one number.
(func $is-trap (param $string i32) (result i32)
  (if (i32.ne (i32.load offset=4 (local.get $string)) (i32.const 4))
    (then (return (i32.const 0))))
  (i32.eq (i32.load (i32.load (local.get $string))) (i32.load (i32.const 4096))))
