SELECT model, count(*), avg(total_tokens)
FROM litellm_request_logs
GROUP BY model;
