;; Names the first gateway of the batch that is no candidate of the subject. The host must refuse the answer.
;; It wants gateways of two namespaces: where all are candidates, it answers direct and nothing is wrong.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $described (i32.const 0) (i32.const 0) (global.get $reach=own-namespace)))

(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (local $subject i32) (local $gateway i32)
  (local.set $subject (call $subject (local.get $batch) (local.get $index)))
  (call $put-choice (local.get $decision) (global.get $choice=direct))
  (block $done
    (loop $next
      (br_if $done (i32.ge_u (local.get $gateway) (call $gateway-count (local.get $batch))))
      (if (i32.eqz (call $is-candidate (local.get $subject) (local.get $gateway)))
        (then
          (drop (call $put-waypoint (local.get $decision) (local.get $gateway)))
          (br $done)))
      (local.set $gateway (i32.add (local.get $gateway) (i32.const 1)))
      (br $next))))

(func $is-candidate (param $subject i32) (param $gateway i32) (result i32)
  (local $n i32)
  (loop $next
    (if (i32.ge_u (local.get $n) (call $candidate-count (local.get $subject)))
      (then (return (i32.const 0))))
    (if (i32.eq (call $candidate (local.get $subject) (local.get $n)) (local.get $gateway))
      (then (return (i32.const 1))))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br $next))
  unreachable)
